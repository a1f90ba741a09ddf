package iam

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

// sshKey is a user's public key. CodeCommit is not reached by SSH here: the
// keys are kept and shown.
type sshKey struct {
	ID       string    `db:"id"`
	Account  string    `db:"account"`
	UserID   string    `db:"user_id"`
	Body     string    `db:"body"`
	Print    string    `db:"print"`
	Status   string    `db:"status"`
	Uploaded time.Time `db:"uploaded"`
}

const (
	sshColumns = `id, account, user_id, body, print, status, uploaded`

	findSSHKey   = `SELECT ` + sshColumns + ` FROM iam_ssh_key WHERE id = $1 AND user_id = $2`
	listSSHKeys  = `SELECT ` + sshColumns + ` FROM iam_ssh_key WHERE user_id = $1 ORDER BY id`
	insertSSHKey = `INSERT INTO iam_ssh_key (` + sshColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (user_id, print) DO NOTHING`
)

const (
	maxSSHKeys = 5 // of a user
	minSSHBits = 2048
	noSSHKey   = "The Public Key with id %s cannot be found."
)

func errPublicKey(message string) error { return aws.Errorf("InvalidPublicKey", "%s", message) }

// parsePublicKey reads an RSA public key: a line of the form "ssh-rsa BASE64
// COMMENT", or PEM.
func parsePublicKey(text string) (*rsa.PublicKey, error) {
	var key *rsa.PublicKey
	if block, rest := pem.Decode([]byte(text)); block != nil && len(bytes.TrimSpace(rest)) == 0 {
		key = publicKeyIn(block)
	} else if fields := strings.Fields(text); len(fields) >= 2 && fields[0] == sshRSA {
		raw, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil {
			return nil, errPublicKey("The public key is invalid.")
		}
		key = fromSSH(raw)
	} else {
		return nil, aws.Errorf("UnrecognizedPublicKeyEncoding", "The public key encoding is not recognized. It has to be ssh-rsa or PEM.")
	}
	if key == nil {
		return nil, errPublicKey("The public key is invalid.")
	}
	if key.N.BitLen() < minSSHBits {
		return nil, errPublicKey("The public key has to have at least 2048 bits.")
	}
	return key, nil
}

func publicKeyIn(block *pem.Block) *rsa.PublicKey {
	switch block.Type {
	case "PUBLIC KEY":
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if rsaKey, ok := key.(*rsa.PublicKey); ok && err == nil {
			return rsaKey
		}
	case "RSA PUBLIC KEY":
		if key, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
			return key
		}
	}
	return nil
}

const sshRSA = "ssh-rsa"

// toSSH writes a key as SSH does (RFC 4253, 6.6): name, exponent, modulus.
func toSSH(key *rsa.PublicKey) []byte {
	var out []byte
	field := func(b []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(b)))
		out = append(out, b...)
	}
	number := func(n *big.Int) {
		b := n.Bytes()
		if len(b) > 0 && b[0]&0x80 != 0 {
			b = append([]byte{0}, b...) // it is not negative
		}
		field(b)
	}
	field([]byte(sshRSA))
	number(big.NewInt(int64(key.E)))
	number(key.N)
	return out
}

// fromSSH is the inverse of toSSH; nil means that it is no such key.
func fromSSH(raw []byte) *rsa.PublicKey {
	field := func() ([]byte, bool) {
		if len(raw) < 4 {
			return nil, false
		}
		n := binary.BigEndian.Uint32(raw)
		if uint64(n) > uint64(len(raw)-4) {
			return nil, false
		}
		out := raw[4 : 4+n]
		raw = raw[4+n:]
		return out, true
	}
	name, ok1 := field()
	exponent, ok2 := field()
	modulus, ok3 := field()
	if !ok1 || !ok2 || !ok3 || string(name) != sshRSA || len(raw) > 0 {
		return nil
	}
	e, n := new(big.Int).SetBytes(exponent), new(big.Int).SetBytes(modulus)
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 || n.Bit(0) == 0 {
		return nil
	}
	key := &rsa.PublicKey{N: n, E: int(e.Int64())}
	return key
}

// fingerprint is a key's MD5 as ssh-keygen shows it.
func fingerprint(key *rsa.PublicKey) string {
	sum := md5.Sum(toSSH(key))
	parts := make([]string, len(sum))
	for i := range sum {
		parts[i] = hex.EncodeToString(sum[i : i+1])
	}
	return strings.Join(parts, ":")
}

// in writes the key in an encoding, SSH or PEM; as it was uploaded when that
// was its encoding.
func (r sshKey) in(encoding string) (string, error) {
	isPEM := strings.HasPrefix(strings.TrimSpace(r.Body), "-----BEGIN")
	if isPEM == (encoding == "PEM") {
		return r.Body, nil
	}
	key, err := parsePublicKey(r.Body)
	if err != nil {
		return "", err
	}
	if encoding == "SSH" {
		return sshRSA + " " + base64.StdEncoding.EncodeToString(toSSH(key)), nil
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

func (r sshKey) api(userName, body string) *api.SSHPublicKey {
	return &api.SSHPublicKey{UserName: userName, SSHPublicKeyId: r.ID, Fingerprint: r.Print, SSHPublicKeyBody: body, Status: r.Status, UploadDate: &r.Uploaded}
}

func (s *Service) uploadSSHPublicKey(ctx context.Context, c *call.Call, in *api.UploadSSHPublicKeyInput) (*api.UploadSSHPublicKeyOutput, error) {
	key, err := parsePublicKey(in.SSHPublicKeyBody)
	if err != nil {
		return nil, err
	}
	r := sshKey{
		ID: newID("APKA"), Account: c.Account(), Body: in.SSHPublicKeyBody, Print: fingerprint(key),
		Status: active, Uploaded: c.Time.Truncate(time.Second),
	}
	out := &api.UploadSSHPublicKeyOutput{}
	err = s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), user, in.UserName)
		if err != nil {
			return err
		}
		r.UserID = e.ID
		n, err := tx.Exec(ctx, insertSSHKey, r.ID, r.Account, r.UserID, r.Body, r.Print, r.Status, r.Uploaded)
		if err != nil {
			return err
		}
		if n == 0 {
			return aws.Errorf("DuplicateSSHPublicKey", "The SSH public key is already associated with the user %s.", e.Name)
		}
		out.SSHPublicKey = r.api(e.Name, r.Body)
		count, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_ssh_key WHERE user_id = $1`, e.ID)
		if err == nil && count > maxSSHKeys {
			return limit("Cannot exceed quota for SSHPublicKeysPerUser: %d", maxSSHKeys)
		}
		return err
	})
	return out, err
}

func (s *Service) getSSHPublicKey(ctx context.Context, c *call.Call, in *api.GetSSHPublicKeyInput) (*api.GetSSHPublicKeyOutput, error) {
	out := &api.GetSSHPublicKeyOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), user, in.UserName)
		if err != nil {
			return err
		}
		r, err := state.Get[sshKey](ctx, tx, findSSHKey, in.SSHPublicKeyId, e.ID)
		if errors.Is(err, state.ErrNotFound) {
			return noSuch(noSSHKey, in.SSHPublicKeyId)
		}
		if err != nil {
			return err
		}
		body, err := r.in(in.Encoding)
		out.SSHPublicKey = r.api(e.Name, body)
		return err
	})
	return out, err
}

func (s *Service) listSSHPublicKeys(ctx context.Context, c *call.Call, in *api.ListSSHPublicKeysInput) (*api.ListSSHPublicKeysOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListSSHPublicKeysOutput{SSHPublicKeys: []api.SSHPublicKeyMetadata{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		id, name, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return err
		}
		rows, err := state.List[sshKey](ctx, tx, listSSHKeys, id)
		rows, out.IsTruncated, out.Marker = pageThrough(p, rows, func(r sshKey) string { return r.ID })
		for _, r := range rows {
			out.SSHPublicKeys = append(out.SSHPublicKeys, api.SSHPublicKeyMetadata{UserName: name, SSHPublicKeyId: r.ID, Status: r.Status, UploadDate: &r.Uploaded})
		}
		return err
	})
	return out, err
}

func (s *Service) updateSSHPublicKey(ctx context.Context, c *call.Call, in *api.UpdateSSHPublicKeyInput) (*api.UpdateSSHPublicKeyOutput, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	return nil, s.changeOwn(ctx, c, in.UserName, in.SSHPublicKeyId, noSSHKey, `UPDATE iam_ssh_key SET status = $3 WHERE id = $1 AND user_id = $2`, in.Status)
}

func (s *Service) deleteSSHPublicKey(ctx context.Context, c *call.Call, in *api.DeleteSSHPublicKeyInput) (*api.DeleteSSHPublicKeyOutput, error) {
	return nil, s.changeOwn(ctx, c, in.UserName, in.SSHPublicKeyId, noSSHKey, `DELETE FROM iam_ssh_key WHERE id = $1 AND user_id = $2`)
}
