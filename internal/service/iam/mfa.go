package iam

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"net/url"
	"time"

	api "github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/qr"
	"github.com/sekisho/sekisho/internal/state"
)

// mfaOperations are those about MFA devices. There are virtual ones only:
// programs that show a code every thirty seconds.
func (s *Service) mfaOperations() []call.Operation {
	return []call.Operation{
		on(s, "CreateVirtualMFADevice", func(in *api.CreateVirtualMFADeviceInput) subject {
			return subject{kind: mfa, name: in.VirtualMFADeviceName, path: in.Path, keys: tagKeys(in.Tags), tagged: len(in.Tags) > 0}
		}, s.createVirtualMFADevice),
		on(s, "DeleteVirtualMFADevice", func(in *api.DeleteVirtualMFADeviceInput) subject { return subject{kind: mfa, name: in.SerialNumber} }, s.deleteVirtualMFADevice),
		across("ListVirtualMFADevices", mfa, none[api.ListVirtualMFADevicesInput], s.listVirtualMFADevices),
		on(s, "EnableMFADevice", func(in *api.EnableMFADeviceInput) subject { return subject{kind: user, name: in.UserName} }, s.enableMFADevice),
		on(s, "ResyncMFADevice", func(in *api.ResyncMFADeviceInput) subject { return subject{kind: user, name: in.UserName} }, s.resyncMFADevice),
		on(s, "DeactivateMFADevice", func(in *api.DeactivateMFADeviceInput) subject { return subject{kind: user, name: in.UserName} }, s.deactivateMFADevice),
		on(s, "ListMFADevices", func(in *api.ListMFADevicesInput) subject { return subject{kind: user, name: in.UserName} }, s.listMFADevices),
		on(s, "GetMFADevice", func(in *api.GetMFADeviceInput) subject { return subject{kind: user, name: in.UserName} }, s.getMFADevice),
		on(s, "TagMFADevice", func(in *api.TagMFADeviceInput) subject {
			return subject{kind: mfa, name: in.SerialNumber, keys: tagKeys(in.Tags)}
		}, s.tagMFADevice),
		on(s, "UntagMFADevice", func(in *api.UntagMFADeviceInput) subject {
			return subject{kind: mfa, name: in.SerialNumber, keys: untagKeys(in.TagKeys)}
		}, s.untagMFADevice),
		on(s, "ListMFADeviceTags", func(in *api.ListMFADeviceTagsInput) subject { return subject{kind: mfa, name: in.SerialNumber} }, s.listMFADeviceTags),
	}
}

// device is a virtual MFA device.
type device struct {
	Serial   string    `db:"serial"`
	Account  string    `db:"account"`
	ID       string    `db:"id"`
	Seed     []byte    `db:"seed"` // sealed; bound to the serial number
	Created  time.Time `db:"created"`
	UserID   string    `db:"user_id"`
	Enabled  time.Time `db:"enabled"`
	Skew     int64     `db:"skew"`
	LastStep int64     `db:"last_step"`
	Misses   int64     `db:"misses"` // wrong codes in a row
	Missed   int64     `db:"missed"` // the step of the last one
}

const deviceColumns = `serial, account, id, seed, created, user_id, enabled, skew, last_step, misses, missed`

const (
	findDeviceBySerial = `SELECT ` + deviceColumns + ` FROM iam_mfa WHERE account = $1 AND serial = $2`
	insertDevice       = `INSERT INTO iam_mfa (` + deviceColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0) ON CONFLICT (serial) DO NOTHING`
	updateDevice       = `UPDATE iam_mfa SET user_id = $2, enabled = $3, skew = $4, last_step = $5, misses = $6, missed = $7 WHERE serial = $1`
	listDevicesOf      = `SELECT ` + deviceColumns + ` FROM iam_mfa WHERE account = $1 AND user_id = $2 AND serial > $3 ORDER BY serial LIMIT $4`
	listDevices        = `SELECT ` + deviceColumns + ` FROM iam_mfa
		WHERE account = $1 AND serial > $2 AND ($3 <> 'Assigned' OR user_id <> '') AND ($3 <> 'Unassigned' OR user_id = '')
		ORDER BY serial LIMIT $4`
)

const (
	maxDevices  = 8   // of a user
	seedSize    = 40  // bytes, as AWS makes them
	codeReach   = 1   // steps by which a code may be early or late
	enableReach = 10  // and when the device is enabled
	resyncReach = 240 // two hours
	freeMisses  = 10  // wrong codes in a row before there is one try a step
)

func findDevice(ctx context.Context, tx *state.Tx, account, serial string) (device, error) {
	d, err := state.Get[device](ctx, tx, findDeviceBySerial, account, serial)
	if errors.Is(err, state.ErrNotFound) {
		return d, noSuch("VirtualMFADevice with serial number %s doesn't exist.", serial)
	}
	return d, err
}

func (d device) save(ctx context.Context, tx *state.Tx) error {
	_, err := tx.Exec(ctx, updateDevice, d.Serial, d.UserID, d.Enabled, d.Skew, d.LastStep, d.Misses, d.Missed)
	return err
}

// createVirtualMFADevice shows the seed once, as text and as the code that
// authenticator programs read.
func (s *Service) createVirtualMFADevice(ctx context.Context, c *call.Call, in *api.CreateVirtualMFADeviceInput) (*api.CreateVirtualMFADeviceOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	d := device{
		Serial: entityARN(c.Account(), mfa, in.Path, in.VirtualMFADeviceName), Account: c.Account(), ID: newID("MFAD"),
		Created: c.Time.Truncate(time.Second),
	}
	seed := make([]byte, seedSize)
	rand.Read(seed) // never fails, by its documentation
	d.Seed = s.seeds.Seal(seed, []byte(d.Serial))
	out := &api.VirtualMFADevice{SerialNumber: d.Serial, Base32StringSeed: []byte(base32.StdEncoding.EncodeToString(seed)), Tags: in.Tags}
	label := ""
	err := s.write(ctx, c.Account(), func(tx *state.Tx) (err error) {
		n, err := tx.Exec(ctx, insertDevice, d.Serial, d.Account, d.ID, d.Seed, d.Created, d.UserID, d.Enabled, d.Skew, d.LastStep)
		if err == nil && n == 0 {
			err = exists("MFADevice entity at the same path and name already exists.")
		}
		if err != nil {
			return err
		}
		if label, err = alias(ctx, tx, c.Account()); label == "" {
			label = c.Account()
		}
		if err != nil {
			return err
		}
		return addTags(ctx, tx, d.ID, in.Tags)
	})
	if err != nil {
		return nil, err
	}
	code, err := qr.New("otpauth://totp/" + url.PathEscape(in.VirtualMFADeviceName+"@"+label) + "?secret=" + string(out.Base32StringSeed))
	if err == qr.ErrTooLong {
		return nil, invalid("The name of the virtual MFA device is too long.")
	}
	if err != nil {
		return nil, err
	}
	out.QRCodePNG, err = code.PNG(5)
	return &api.CreateVirtualMFADeviceOutput{VirtualMFADevice: out}, err
}

func (s *Service) deleteVirtualMFADevice(ctx context.Context, c *call.Call, in *api.DeleteVirtualMFADeviceInput) (*api.DeleteVirtualMFADeviceOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		d, err := findDevice(ctx, tx, c.Account(), in.SerialNumber)
		if err != nil {
			return err
		}
		if d.UserID != "" {
			return conflict("MFA VirtualDevice in use. Must deactivate first.")
		}
		return deleteAll(ctx, tx, d.ID, `DELETE FROM iam_tag WHERE owner_id = $1`, `DELETE FROM iam_mfa WHERE id = $1`)
	})
}

func (s *Service) listVirtualMFADevices(ctx context.Context, c *call.Call, in *api.ListVirtualMFADevicesInput) (*api.ListVirtualMFADevicesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListVirtualMFADevicesOutput{VirtualMFADevices: []api.VirtualMFADevice{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		rows, err := state.List[device](ctx, tx, listDevices, c.Account(), p.after, in.AssignmentStatus, p.limit+1)
		rows, out.IsTruncated, out.Marker = cut(p, rows, func(d device) string { return d.Serial })
		for _, d := range rows {
			shown := api.VirtualMFADevice{SerialNumber: d.Serial}
			if d.UserID != "" {
				e, err := state.Get[entity](ctx, tx, findEntityByID, d.UserID)
				if err != nil {
					return err
				}
				shown.User, shown.EnableDate = new(e.user()), &d.Enabled
			}
			out.VirtualMFADevices = append(out.VirtualMFADevices, shown)
		}
		return err
	})
	return out, err
}

func errBadCode() error {
	return aws.Errorf("InvalidAuthenticationCode", "Authentication code for device is not valid.").WithStatus(403)
}

// enableMFADevice gives a device to a user, who shows by two codes in a row
// to have it.
func (s *Service) enableMFADevice(ctx context.Context, c *call.Call, in *api.EnableMFADeviceInput) (*api.EnableMFADeviceOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		e, err := find(ctx, tx, c.Account(), user, in.UserName)
		if err != nil {
			return err
		}
		d, err := findDevice(ctx, tx, c.Account(), in.SerialNumber)
		if err != nil {
			return err
		}
		if d.UserID != "" {
			return exists("MFA Device is already in use.")
		}
		if err := s.synchronize(&d, in.AuthenticationCode1, in.AuthenticationCode2, c.Time, enableReach); err != nil {
			return err
		}
		d.UserID, d.Enabled = e.ID, c.Time.Truncate(time.Second)
		if err := d.save(ctx, tx); err != nil {
			return err
		}
		n, err := state.Get[int64](ctx, tx, `SELECT COUNT(*) FROM iam_mfa WHERE user_id = $1`, e.ID)
		if err == nil && n > maxDevices {
			return limit("Cannot exceed quota for MFADevicesPerUser: %d", maxDevices)
		}
		return err
	})
}

// synchronize checks two codes in a row, and notes how far the device's clock
// is from ours. The codes are spent, and must not have been before.
func (s *Service) synchronize(d *device, first, second string, now time.Time, reach int64) error {
	seed, err := s.seeds.Open(d.Seed, []byte(d.Serial))
	if err != nil {
		return err
	}
	at := stepAt(now)
	step, ok := findPair(seed, first, second, at, reach, d.LastStep)
	if !ok {
		return errBadCode()
	}
	// The codes are read one after the other: a step more or less says
	// nothing of the clock.
	if d.Skew = step - at; d.Skew >= -1 && d.Skew <= 1 {
		d.Skew = 0
	}
	d.LastStep, d.Misses = step, 0
	return nil
}

// heldDevice finds a device that a user has.
func heldDevice(ctx context.Context, tx *state.Tx, c *call.Call, userName, serial string) (device, string, error) {
	id, name, err := keyOwner(ctx, tx, c, userName)
	if err != nil {
		return device{}, "", err
	}
	d, err := findDevice(ctx, tx, c.Account(), serial)
	if err == nil && d.UserID != id {
		return d, name, noSuch("MFA Device invalid for user.")
	}
	return d, name, err
}

func (s *Service) resyncMFADevice(ctx context.Context, c *call.Call, in *api.ResyncMFADeviceInput) (*api.ResyncMFADeviceOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		d, _, err := heldDevice(ctx, tx, c, in.UserName, in.SerialNumber)
		if err != nil {
			return err
		}
		if err := s.synchronize(&d, in.AuthenticationCode1, in.AuthenticationCode2, c.Time, resyncReach); err != nil {
			return err
		}
		return d.save(ctx, tx)
	})
}

// deactivateMFADevice takes a device from its user. The device and its seed
// stay.
func (s *Service) deactivateMFADevice(ctx context.Context, c *call.Call, in *api.DeactivateMFADeviceInput) (*api.DeactivateMFADeviceOutput, error) {
	return nil, s.write(ctx, c.Account(), func(tx *state.Tx) error {
		d, _, err := heldDevice(ctx, tx, c, in.UserName, in.SerialNumber)
		if err != nil {
			return err
		}
		d.UserID, d.Enabled = "", time.Time{}
		return d.save(ctx, tx)
	})
}

func (s *Service) listMFADevices(ctx context.Context, c *call.Call, in *api.ListMFADevicesInput) (*api.ListMFADevicesOutput, error) {
	p, err := pageOf(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &api.ListMFADevicesOutput{MFADevices: []api.MFADevice{}}
	err = s.db.View(ctx, func(tx *state.Tx) error {
		id, name, err := keyOwner(ctx, tx, c, in.UserName)
		if err != nil {
			return err
		}
		rows, err := state.List[device](ctx, tx, listDevicesOf, c.Account(), id, p.after, p.limit+1)
		rows, out.IsTruncated, out.Marker = cut(p, rows, func(d device) string { return d.Serial })
		for _, d := range rows {
			out.MFADevices = append(out.MFADevices, api.MFADevice{UserName: name, SerialNumber: d.Serial, EnableDate: &d.Enabled})
		}
		return err
	})
	return out, err
}

// getMFADevice shows a user's device: the caller's own when no user is named.
func (s *Service) getMFADevice(ctx context.Context, c *call.Call, in *api.GetMFADeviceInput) (*api.GetMFADeviceOutput, error) {
	out := &api.GetMFADeviceOutput{}
	err := s.db.View(ctx, func(tx *state.Tx) error {
		d, name, err := heldDevice(ctx, tx, c, in.UserName, in.SerialNumber)
		*out = api.GetMFADeviceOutput{UserName: name, SerialNumber: d.Serial, EnableDate: &d.Enabled}
		return err
	})
	return out, err
}

// VerifyMFA checks a code that a caller gives STS for one of its MFA devices,
// and spends it: neither it nor an older one is taken again. The refusals are
// those that STS answers with. Who guesses codes soon has one try in thirty
// seconds.
func (s *Service) VerifyMFA(ctx context.Context, p aws.Principal, serial, code string, now time.Time) error {
	var refusal error
	err := s.db.Update(ctx, func(tx *state.Tx) error {
		refusal = nil
		d, err := findDevice(ctx, tx, p.Account, serial)
		if isNoSuch(err) || err == nil && d.UserID != p.ID {
			return refusedMFA("MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.")
		}
		if err != nil {
			return err
		}
		seed, err := s.seeds.Open(d.Seed, []byte(d.Serial))
		if err != nil {
			return err
		}
		at := stepAt(now)
		if d.Misses >= freeMisses && d.Missed == at {
			return aws.Errorf("Throttling", "Rate exceeded")
		}
		step, ok := findStep(seed, code, at+d.Skew, codeReach, d.LastStep)
		if ok {
			d.LastStep, d.Misses = step, 0
		} else { // kept, while the call is refused
			d.Misses, d.Missed = d.Misses+1, at
			refusal = refusedMFA("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
		}
		return d.save(ctx, tx)
	})
	return cmp.Or(err, refusal)
}

func refusedMFA(message string) error {
	return aws.Errorf("AccessDenied", "%s", message).WithStatus(403)
}

func (s *Service) tagMFADevice(ctx context.Context, c *call.Call, in *api.TagMFADeviceInput) (*api.TagMFADeviceOutput, error) {
	return nil, s.tag(ctx, c, mfa, in.SerialNumber, in.Tags)
}

func (s *Service) untagMFADevice(ctx context.Context, c *call.Call, in *api.UntagMFADeviceInput) (*api.UntagMFADeviceOutput, error) {
	return nil, s.untag(ctx, c, mfa, in.SerialNumber, in.TagKeys)
}

func (s *Service) listMFADeviceTags(ctx context.Context, c *call.Call, in *api.ListMFADeviceTagsInput) (*api.ListMFADeviceTagsOutput, error) {
	list, truncated, next, err := s.tags(ctx, c, mfa, in.SerialNumber, in.Marker, in.MaxItems)
	return &api.ListMFADeviceTagsOutput{Tags: list, IsTruncated: truncated, Marker: next}, err
}
