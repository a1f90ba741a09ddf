package sekisho

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/fsck"
	"github.com/sekisho/sekisho/internal/gateway"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/service/cloudformation"
	"github.com/sekisho/sekisho/internal/service/codecommit"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/kms"
	"github.com/sekisho/sekisho/internal/service/s3"
	"github.com/sekisho/sekisho/internal/state"
)

// sealedColumns are all values that lie sealed under the master key. Beside
// them there is the authority's key, in a file.
func sealedColumns() []fsck.Column {
	return slices.Concat(iam.Sealed(), kms.Sealed(), s3.Sealed(), cloudformation.Sealed())
}

// stopped is the store of a server that does not run: the data directory is
// ours, as it would be a server's.
type stopped struct {
	config Config
	home   *home
	db     *state.DB
	master *seal.Master
}

// openStopped takes a data directory that is there. master reads its key.
func openStopped(ctx context.Context, config Config, master func(file string) (*seal.Master, error)) (_ *stopped, err error) {
	if _, err := os.Stat(filepath.Join(config.Data, homeFile)); err != nil {
		return nil, fmt.Errorf("%s is no data directory of sekisho: name it with --data DIR", config.Data)
	}
	s := &stopped{config: config}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.home, err = settle(config.Data); err != nil {
		return nil, err
	}
	key := filepath.Join(config.Data, masterFile)
	if _, err := os.Stat(key); err != nil && os.Getenv(seal.MasterEnv) == "" {
		return nil, fmt.Errorf("the master key is missing: restore %s from a backup, or set %s", key, seal.MasterEnv)
	}
	if s.master, err = master(key); err != nil {
		return nil, err
	}
	s.db, err = openDatabase(ctx, config)
	return s, err
}

func (s *stopped) close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.home != nil {
		errs = append(errs, s.home.unlock())
	}
	return errors.Join(errs...)
}

// Check goes through everything that is stored and reports what is not as it
// should be: it reads every body and every sealed value, and has the database
// and git check what is theirs. No server may run on the data directory. An
// error says that the check did not come to its end.
func Check(ctx context.Context, config Config, report func(fsck.Finding)) (err error) {
	s, err := openStopped(ctx, config, seal.LoadMaster)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.master.Changing() {
		report(fsck.Finding{Thing: "master key", Cause: "a change of it was cut off: the old key is still there", WayOut: "sekisho rotate-master-key ends it", Note: true})
	}
	err = s.db.Check(ctx, func(thing, cause string) {
		report(fsck.Finding{Thing: thing, Cause: cause, WayOut: "restore the database from a backup"})
	})
	if err != nil {
		return err
	}
	if err := gateway.CheckAuthority(config.Data, s.master); err != nil {
		report(fsck.Finding{Thing: "certificate authority", Cause: err.Error(), WayOut: "remove ca.pem and ca.key.sealed; the next start makes new ones, which clients have to be given"})
	}
	if err := fsck.CheckSealed(ctx, s.db, s.master, sealedColumns(), report); err != nil {
		return err
	}
	if err := job.Check(ctx, s.db, report); err != nil {
		return err
	}
	if err := s.checkBuckets(ctx, report); err != nil {
		return err
	}
	return s.checkRepositories(ctx, report)
}

func (s *stopped) checkBuckets(ctx context.Context, report fsck.Report) error {
	blobs, err := blob.OpenFiles(filepath.Join(s.config.Data, blobDir))
	if err != nil {
		return err
	}
	jobs := job.NewQueue(s.db, job.Options{})
	keys := kms.New(s.db, jobs, s.master, nil, kms.Options{})
	return s3.New(s.db, blobs, s.master.For("s3"), nil, nil, jobs).Check(ctx, keys.OpenAtRest, report)
}

func (s *stopped) checkRepositories(ctx context.Context, report fsck.Report) error {
	repositories, err := git.Open(ctx, filepath.Join(s.config.Data, gitDir), git.Options{Log: s.config.Log})
	if err != nil {
		return err
	}
	defer repositories.Close()
	return codecommit.New(s.db, repositories, nil, job.NewQueue(s.db, job.Options{})).Check(ctx, report)
}

// RotateMasterKey makes a new master key and seals under it whatever lies
// sealed under the old one, which it then forgets; it returns how many values
// those were. Bodies are not touched: they hang on keys that are sealed. Cut off
// at any point, the store opens with both keys, and the next call goes on where
// this one was. Should a value open under neither key, the old key is kept.
// Session tokens of STS and page and grant tokens given out before are not kept
// anywhere, and are void.
func RotateMasterKey(ctx context.Context, config Config, report func(fsck.Finding)) (n int, err error) {
	s, err := openStopped(ctx, config, seal.BeginRotation)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	broken := 0
	n, err = fsck.Reseal(ctx, s.db, s.master, sealedColumns(), func(f fsck.Finding) {
		broken++
		report(f)
	})
	if err != nil {
		return n, err
	}
	if err := gateway.ResealAuthority(config.Data, s.master); err != nil {
		return n, err
	}
	if broken > 0 {
		return n, fmt.Errorf("%d values open under neither master key: mend or delete them and try again; until then both keys are kept", broken)
	}
	return n, s.master.EndRotation(filepath.Join(config.Data, masterFile))
}
