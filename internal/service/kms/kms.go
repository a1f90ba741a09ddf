// Package kms is the Key Management Service: symmetric keys with their
// policies, aliases, grants and tags, and encryption under them.
//
// Whatever a key encrypts hangs on it: the material of a key is sealed under
// the master key and is never on disk in clear; a ciphertext names its key and
// the version of the material, and opens only with the encryption context it
// was made with.
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
	now        func() time.Time
	documents  *cache[string, *policy.Document]
	materials  *cache[materialRef, seal.Secret]
}

// Options are the optional parts; the zero value works.
type Options struct {
	// Now is the clock of the jobs that delete and rotate keys; nil means
	// time.Now.
	Now func() time.Time
}

// New returns the service. It handles its jobs, which delete and rotate keys
// when their time has come, on the queue.
func New(db *state.DB, jobs *job.Queue, master *seal.Master, principals policy.Directory, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{
		db:         db,
		principals: principals,
		seals:      master.For("kms/material"),
		tokens:     master.For("kms/grant-token"),
		now:        o.Now,
		documents:  newCache[string, *policy.Document](),
		materials:  newCache[materialRef, seal.Secret](),
	}
	jobs.Handle(deleteJob, s.deleteKey)
	jobs.Handle(rotateJob, s.rotateKey)
	return s
}

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the service's tables.
func Schema() state.Schema { return state.Schema{Name: "kms", Migrations: migrations} }
