package kms

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/state"
)

// The expiration models of imported material.
const (
	expires      = "KEY_MATERIAL_EXPIRES"
	neverExpires = "KEY_MATERIAL_DOES_NOT_EXPIRE"
)

const (
	// parametersLife is how long a wrapping key and its token are good for.
	parametersLife = 24 * time.Hour
	// materialLife is how far ahead material may expire.
	materialLife = 365 * day
)

// importToken is what an import token holds, sealed: nothing is kept of a
// wrapping key but this.
type importToken struct {
	Key       keyName
	Algorithm string
	Private   []byte // the wrapping key, as PKCS #8
	Expires   time.Time
}

var importPurpose = []byte("import token")

func (s *Service) getParametersForImportNeeds(ctx context.Context, c *call.Call, in *api.GetParametersForImportInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:GetParametersForImport", in.KeyId, policy.Keys{
		"kms:wrappingalgorithm": {in.WrappingAlgorithm}, "kms:wrappingkeyspec": {in.WrappingKeySpec},
	})
}

func (s *Service) getParametersForImport(ctx context.Context, c *call.Call, in *api.GetParametersForImportInput) (*api.GetParametersForImportOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	var k key
	err = s.read(ctx, r, func(_ *state.Tx, found key) error {
		k = found
		return k.importable()
	})
	if err != nil {
		return nil, err
	}
	if err := checkWrapping(k, in.WrappingAlgorithm, in.WrappingKeySpec); err != nil {
		return nil, err
	}
	pair, err := specs[in.WrappingKeySpec].generatePair()
	if err != nil {
		return nil, fmt.Errorf("generate a wrapping key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(pair.Public())
	if err != nil {
		return nil, fmt.Errorf("encode a wrapping key: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		return nil, fmt.Errorf("encode a wrapping key: %w", err)
	}
	until := c.Time.Add(parametersLife)
	token, err := json.Marshal(importToken{keyName{k.Account, k.Region, k.ID}, in.WrappingAlgorithm, secret, until})
	if err != nil {
		return nil, fmt.Errorf("import token: %w", err)
	}
	return &api.GetParametersForImportOutput{
		KeyId: k.arn(), ImportToken: s.imports.Seal(token, importPurpose), PublicKey: public, ParametersValidTo: &until,
	}, nil
}

// importable refuses keys whose material is not the customer's to bring.
func (k key) importable() error {
	if k.Origin != originExternal {
		return errOrigin(k)
	}
	return k.alive()
}

// checkWrapping refuses ways of wrapping that do not exist here or that do not
// suit a key's material.
func checkWrapping(k key, algorithm, wrapping string) error {
	withAES := strings.HasPrefix(algorithm, wrapWithAES)
	refuse := func(why string) error {
		return aws.Errorf("UnsupportedOperationException", "Wrapping algorithm %s with wrapping key spec %s %s.", algorithm, wrapping, why)
	}
	if specs[wrapping].bits == 0 {
		return refuse("is not implemented by sekisho")
	}
	switch algorithm {
	case oaepSHA1, oaepSHA2, wrapWithAES + "SHA_1", wrapWithAES + "SHA_256":
	default:
		return refuse("is not supported")
	}
	switch sp := specs[k.Spec]; {
	case withAES && !sp.pair(), !withAES && sp.bits != 0, !withAES && k.Spec == "ECC_NIST_P521" && wrapping == "RSA_2048":
		return refuse("cannot be used for key material of key spec " + k.Spec)
	}
	return nil
}

func (s *Service) importKeyMaterialNeeds(ctx context.Context, c *call.Call, in *api.ImportKeyMaterialInput) ([]call.Need, error) {
	keys := policy.Keys{"kms:expirationmodel": {cmp.Or(in.ExpirationModel, expires)}}
	if in.ValidTo != nil {
		keys["kms:validto"] = []string{in.ValidTo.UTC().Format(time.RFC3339)}
	}
	return s.homeNeeds(ctx, c, "kms:ImportKeyMaterial", in.KeyId, keys)
}

func (s *Service) importKeyMaterial(ctx context.Context, c *call.Call, in *api.ImportKeyMaterialInput) (*api.ImportKeyMaterialOutput, error) {
	r, err := keyRef(c, in.KeyId)
	if err != nil {
		return nil, err
	}
	until, err := expiry(c, in)
	if err != nil {
		return nil, err
	}
	secret, err := s.imported(c, r, in)
	if err != nil {
		return nil, err
	}
	out := &api.ImportKeyMaterialOutput{}
	err = s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if err := k.importable(); err != nil {
			return err
		}
		if k.State == disabled {
			return aws.Errorf("KMSInvalidStateException", "%s is disabled.", k.arn())
		}
		if _, ok := specs[k.Spec].parse(secret); !ok {
			return errMaterial("The key material is not of key spec " + k.Spec + ".")
		}
		m, err := k.place(ctx, tx, in, materialID(k.ID, secret))
		if err != nil {
			return err
		}
		m.Expires, m.Created = until, cmp.Or(m.Created, state.Millis(c.Time))
		if k.Version == 0 { // the first material is current at once
			k.Version = 1
			if err := k.setAll(ctx, tx, `version = 1`); err != nil {
				return err
			}
		}
		out.KeyId = k.arn()
		if k.symmetric() {
			out.KeyMaterialId = m.ID
		}
		if err := s.putMaterial(ctx, tx, k, m, secret); err != nil {
			return err
		}
		if m.Expires != 0 {
			if err := enqueue(ctx, tx, expireJob, k, state.Time(m.Expires)); err != nil {
				return err
			}
		}
		return k.settleImport(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func errMaterial(text string) *aws.Error {
	return aws.Errorf("IncorrectKeyMaterialException", "%s", text)
}

// expiry is when imported material is to expire; 0 is never.
func expiry(c *call.Call, in *api.ImportKeyMaterialInput) (int64, error) {
	switch {
	case in.ExpirationModel == neverExpires && in.ValidTo != nil:
		return 0, aws.Errorf("ValidationException", "You cannot specify ValidTo when ExpirationModel is %s.", neverExpires)
	case in.ExpirationModel == neverExpires:
		return 0, nil
	case in.ValidTo == nil:
		return 0, aws.Errorf("ValidationException", "A validTo date must be set if the ExpirationModel is %s", expires)
	case !in.ValidTo.After(c.Time):
		return 0, aws.Errorf("ValidationException", "ValidTo must be in the future.")
	case in.ValidTo.After(c.Time.Add(materialLife)):
		return 0, aws.Errorf("ValidationException", "ValidTo must be within 365 days.")
	}
	return state.Millis(*in.ValidTo), nil
}

// imported is the material of a request, unwrapped.
func (s *Service) imported(c *call.Call, r ref, in *api.ImportKeyMaterialInput) ([]byte, error) {
	var token importToken
	text, err := s.imports.Open(in.ImportToken, importPurpose)
	if err == nil {
		err = json.Unmarshal(text, &token)
	}
	if err != nil || token.Key.ref() != r {
		return nil, aws.Errorf("InvalidImportTokenException", "The import token is invalid or belongs to another key.")
	}
	if !c.Time.Before(token.Expires) {
		return nil, aws.Errorf("ExpiredImportTokenException", "The import token expired at %s.", token.Expires.UTC().Format(time.RFC3339))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(token.Private)
	wrapping, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("the wrapping key of an import token for %s does not parse", r.keyARN())
	}
	secret, err := unwrap(wrapping, token.Algorithm, in.EncryptedKeyMaterial)
	if err != nil {
		return nil, errCiphertext()
	}
	return secret, nil
}

// materialID is the id of imported material: the same for the same material in
// the same key, and telling nothing of it.
func materialID(keyID string, secret []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("sekisho/kms/material-id/" + keyID))
	return hex.EncodeToString(mac.Sum(nil))
}

// place finds the version that imported material is of: one that the key has
// or had, or a new one. A replica takes what its primary key was given.
func (k key) place(ctx context.Context, tx *state.Tx, in *api.ImportKeyMaterialInput, id string) (materialRow, error) {
	rows, err := k.materialRows(ctx, tx)
	if err != nil {
		return materialRow{}, err
	}
	known, mine := rows, slices.ContainsFunc(rows, func(m materialRow) bool { return m.ID == id })
	if k.MultiRegion == replica && !mine {
		if known, err = k.primaryRows(ctx, tx); err != nil {
			return materialRow{}, err
		}
	}
	at := slices.IndexFunc(known, func(m materialRow) bool { return m.ID == id })
	kind := in.ImportType
	if kind == "" {
		kind = "EXISTING_KEY_MATERIAL"
		if len(rows) == 0 && k.MultiRegion != replica {
			kind = "NEW_KEY_MATERIAL"
		}
	}
	switch {
	case !k.symmetric() && (in.ImportType != "" || in.KeyMaterialId != "" || in.KeyMaterialDescription != ""):
		return materialRow{}, aws.Errorf("ValidationException", "ImportType, KeyMaterialId and KeyMaterialDescription are for symmetric encryption keys only.")
	case kind == "NEW_KEY_MATERIAL":
		return k.placeNew(ctx, tx, in, id, at >= 0)
	case in.KeyMaterialId != "" && in.KeyMaterialId != id, at < 0:
		return materialRow{}, errMaterial("The key material is not the same that was imported before.")
	}
	m := known[at]
	m.Description = cmp.Or(in.KeyMaterialDescription, m.Description)
	return m, nil
}

// placeNew is place for material that the key has not had.
func (k key) placeNew(ctx context.Context, tx *state.Tx, in *api.ImportKeyMaterialInput, id string, known bool) (materialRow, error) {
	waiting, err := k.waiting(ctx, tx)
	switch {
	case err != nil:
		return materialRow{}, err
	case in.KeyMaterialId != "":
		return materialRow{}, aws.Errorf("ValidationException", "You cannot specify KeyMaterialId with ImportType NEW_KEY_MATERIAL.")
	case k.MultiRegion == replica:
		return materialRow{}, errNotPrimary(k.arn())
	case known:
		return materialRow{}, errMaterial("The key material is associated with the key already.")
	case waiting > 0:
		return materialRow{}, aws.Errorf("KMSInvalidStateException", "%s has key material that is pending rotation.", k.arn())
	}
	return materialRow{Version: k.Version + 1, ID: id, Description: in.KeyMaterialDescription}, nil
}

// primaryRows is the material of a replica's primary key.
func (k key) primaryRows(ctx context.Context, tx *state.Tx) ([]materialRow, error) {
	others, err := k.others(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		if o.MultiRegion == primary {
			return o.materialRows(ctx, tx)
		}
	}
	return nil, nil
}

// settleImport brings a key's state in line with its imported material: a key
// that lacks any version that it uses waits for its import.
func (k key) settleImport(ctx context.Context, tx *state.Tx) error {
	if k.Origin != originExternal {
		return nil
	}
	rows, err := k.materialRows(ctx, tx)
	if err != nil {
		return err
	}
	var here int64
	for _, m := range rows {
		if m.Present && m.Version <= k.Version {
			here++
		}
	}
	complete := k.Version > 0 && here == k.Version
	switch {
	case complete && k.State == pendingImport:
		return k.set(ctx, tx, `state = $4`, enabled)
	case !complete && (k.State == enabled || k.State == disabled):
		return k.set(ctx, tx, `state = $4`, pendingImport)
	}
	return nil
}

// waiting counts the keys of a key's set that have material which waits for
// its rotation.
func (k key) waiting(ctx context.Context, tx *state.Tx) (n int, err error) {
	list, err := k.family(ctx, tx)
	if err != nil {
		return 0, err
	}
	for _, o := range list {
		rows, err := o.materialRows(ctx, tx)
		if err != nil {
			return 0, err
		}
		if len(rows) > 0 && rows[len(rows)-1].Version > k.Version {
			n++
		}
	}
	return n, nil
}

// waitingState is the state of material that waits for its rotation: of a
// multi-Region key, until all replicas have it, another one.
func (k key) waitingState(ctx context.Context, tx *state.Tx) (string, error) {
	list, err := k.family(ctx, tx)
	if err != nil {
		return "", err
	}
	n, err := k.waiting(ctx, tx)
	if err != nil {
		return "", err
	}
	if n < len(list) {
		return "PENDING_MULTI_REGION_IMPORT_AND_ROTATION", nil
	}
	return "PENDING_ROTATION", nil
}

func (s *Service) deleteImportedKeyMaterialNeeds(ctx context.Context, c *call.Call, in *api.DeleteImportedKeyMaterialInput) ([]call.Need, error) {
	return s.homeNeeds(ctx, c, "kms:DeleteImportedKeyMaterial", in.KeyId, nil)
}

func (s *Service) deleteImportedKeyMaterial(ctx context.Context, c *call.Call, in *api.DeleteImportedKeyMaterialInput) (*api.DeleteImportedKeyMaterialOutput, error) {
	out := &api.DeleteImportedKeyMaterialOutput{}
	err := s.change(ctx, c, in.KeyId, func(tx *state.Tx, k key) error {
		if k.Origin != originExternal {
			return errOrigin(k)
		}
		if in.KeyMaterialId != "" && !k.symmetric() {
			return aws.Errorf("ValidationException", "KeyMaterialId is for symmetric encryption keys only.")
		}
		rows, err := k.materialRows(ctx, tx)
		if err != nil {
			return err
		}
		out.KeyId = k.arn()
		at := slices.IndexFunc(rows, func(m materialRow) bool {
			return m.ID == in.KeyMaterialId || in.KeyMaterialId == "" && m.Version == k.Version
		})
		switch {
		case at >= 0:
		case in.KeyMaterialId != "":
			return aws.Errorf("NotFoundException", "Key material '%s' does not exist", in.KeyMaterialId)
		default:
			return nil // nothing was imported yet
		}
		if k.symmetric() {
			out.KeyMaterialId = rows[at].ID
		}
		return s.removeMaterial(ctx, tx, k, rows[at].Version)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// removeMaterial takes imported material away. What the key uses or has used
// may come back; what waits for its rotation is forgotten, with a primary key's
// in its replicas too.
func (s *Service) removeMaterial(ctx context.Context, tx *state.Tx, k key, version int64) error {
	list, query := []key{k}, `UPDATE kms_material SET sealed = $5, expires = 0`
	args := []any{[]byte{}}
	if version > k.Version {
		query, args = `DELETE FROM kms_material`, nil
		if k.MultiRegion == primary {
			var err error
			if list, err = k.family(ctx, tx); err != nil {
				return err
			}
		}
	}
	for _, o := range list {
		_, err := tx.Exec(ctx, query+` WHERE account = $1 AND region = $2 AND key_id = $3 AND version = $4`,
			append([]any{o.Account, o.Region, o.ID, version}, args...)...)
		if err != nil {
			return fmt.Errorf("remove material of %s: %w", o.arn(), err)
		}
		s.forget(tx, o, version)
	}
	return k.settleImport(ctx, tx)
}

// expireMaterial is the job that takes imported material away when its time is
// over.
func (s *Service) expireMaterial(ctx context.Context, j *job.Job) error {
	return s.onKey(ctx, j, func(tx *state.Tx, k key) error {
		rows, err := k.materialRows(ctx, tx)
		if err != nil {
			return err
		}
		now := s.now()
		var next time.Time
		for _, m := range rows {
			at := state.Time(m.Expires)
			switch {
			case m.Expires == 0:
			case !at.After(now):
				if err := s.removeMaterial(ctx, tx, k, m.Version); err != nil {
					return err
				}
			case next.IsZero() || at.Before(next):
				next = at
			}
		}
		if next.IsZero() {
			return nil
		}
		return enqueue(ctx, tx, expireJob, k, next)
	})
}
