// Package kms is the Key Management Service: keys with their policies,
// aliases, grants and tags, for encryption, signatures, message authentication
// codes and key agreement; keys of several Regions, and keys whose material
// customers bring.
//
// Whatever a key encrypts hangs on it: the material of a key is sealed under
// the master key and is never on disk in clear; a ciphertext names its key and
// the version of the material, and opens only with the encryption context it
// was made with. Each key of a set of multi-Region keys has its own sealed copy
// of their common material.
//
// Some texts and a few codes of errors are not documented by AWS and were not
// seen: those of multi-Region keys in the wrong role, of material that does not
// suit, of RotateKeyOnDemand without material, of UpdateAlias between keys of
// different kinds.
package kms

import (
	"embed"
	"time"

	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
)

// Service is the Key Management Service.
type Service struct {
	db         *state.DB
	principals policy.Directory
	seals      *seal.Box // key material
	tokens     *seal.Box // grant tokens
	imports    *seal.Box // import tokens
	now        func() time.Time
	documents  *cache[string, *policy.Document]
	materials  *cache[materialRef, seal.Secret]
	pairs      *cache[materialRef, private]
}

// Options are the optional parts; the zero value works.
type Options struct {
	// Now is the clock of the jobs that delete and rotate keys and let material
	// expire; nil means time.Now.
	Now func() time.Time
}

// New returns the service. It handles its jobs, which delete and rotate keys
// and let imported material expire when their time has come, on the queue.
func New(db *state.DB, jobs *job.Queue, master *seal.Master, principals policy.Directory, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{
		db:         db,
		principals: principals,
		seals:      master.For("kms/material"),
		tokens:     master.For("kms/grant-token"),
		imports:    master.For("kms/import-token"),
		now:        o.Now,
		documents:  newCache[string, *policy.Document](),
		materials:  newCache[materialRef, seal.Secret](),
		pairs:      newCache[materialRef, private](),
	}
	jobs.Handle(deleteJob, s.deleteKey)
	jobs.Handle(rotateJob, s.rotateKey)
	jobs.Handle(expireJob, s.expireMaterial)
	return s
}

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the service's tables.
func Schema() state.Schema { return state.Schema{Name: "kms", Migrations: migrations} }
