package sekisho

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sekisho/sekisho/internal/api"
	"github.com/sekisho/sekisho/internal/blob"
	"github.com/sekisho/sekisho/internal/checkpoint"
	"github.com/sekisho/sekisho/internal/gateway"
	"github.com/sekisho/sekisho/internal/git"
	"github.com/sekisho/sekisho/internal/job"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/service/cloudformation"
	"github.com/sekisho/sekisho/internal/service/cloudtrail"
	"github.com/sekisho/sekisho/internal/service/codecommit"
	"github.com/sekisho/sekisho/internal/service/codepipeline"
	"github.com/sekisho/sekisho/internal/service/events"
	"github.com/sekisho/sekisho/internal/service/iam"
	"github.com/sekisho/sekisho/internal/service/kms"
	"github.com/sekisho/sekisho/internal/service/organizations"
	"github.com/sekisho/sekisho/internal/service/s3"
	"github.com/sekisho/sekisho/internal/service/sts"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/wire"
)

// drain is how long calls under way may take to end when the server stops.
const drain = 15 * time.Second

// Server is a running, or about to run, sekisho.
type Server struct {
	config    Config
	log       *slog.Logger
	home      *home
	listener  net.Listener
	authority *gateway.Authority
	http      *http.Server
	writing   sync.Mutex // held while the credentials file is replaced

	db        *state.DB
	git       *git.Store
	jobs      *job.Queue
	door      *checkpoint.Checkpoint
	iam       *iam.Service
	trail     *cloudtrail.Service
	events    *events.Service
	commit    *codecommit.Service
	pipelines *codepipeline.Service
	buckets   *s3.Service
	keys      *kms.Service

	organizations *organizations.Service
}

// New builds every part of a server and joins them. It listens when it
// returns, so that URL is known, but answers only while Run runs. Close
// releases what New took.
func New(ctx context.Context, config Config) (_ *Server, err error) {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Listen == "" {
		config.Listen = DefaultListen
	}
	s := &Server{config: config, log: config.Log}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.home, err = settle(config.Data); err != nil {
		return nil, err
	}
	master, err := seal.LoadMaster(filepath.Join(config.Data, masterFile))
	if err != nil {
		return nil, err
	}
	if s.authority, err = gateway.OpenAuthority(config.Data, master); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.join(ctx, master); err != nil {
		return nil, err
	}
	err = s.makeAccounts(ctx)
	if errors.Is(err, seal.ErrBroken) {
		err = fmt.Errorf("the database belongs to another data directory than %s: its secrets are sealed under another master key. "+
			"Start with the directory that it was made with (--data DIR), or give this one a database of its own (--database URL)", config.Data)
	}
	return s, err
}

// makeAccounts makes the accounts of the configuration that are missing, and
// writes down the keys of all.
func (s *Server) makeAccounts(ctx context.Context) error {
	for _, a := range s.config.Accounts {
		if err := a.check(); err != nil {
			return err
		}
		if _, err := s.iam.CreateAccount(ctx, a.Name, a.ID); err != nil {
			return err
		}
	}
	return s.writeCredentials(ctx)
}

// listen takes the port.
func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen HOST:PORT", err)
	}
	s.listener = gateway.Split(l, s.authority.TLS())
	return nil
}

// open opens the database and the repositories.
func (s *Server) open(ctx context.Context) (err error) {
	if s.db, err = openDatabase(ctx, s.config); err != nil {
		return err
	}
	s.git, err = git.Open(ctx, filepath.Join(s.config.Data, gitDir), git.Options{Log: s.log})
	return err
}

// openDatabase opens the database of a configuration.
func openDatabase(ctx context.Context, config Config) (*state.DB, error) {
	url := config.Database
	if url == "" {
		url = filepath.Join(config.Data, databaseFile)
	}
	return state.Open(ctx, url,
		job.Schema(), iam.Schema(), kms.Schema(), s3.Schema(), codecommit.Schema(), events.Schema(),
		codepipeline.Schema(), cloudformation.Schema(), cloudtrail.Schema(), organizations.Schema())
}

// join makes the services, puts them behind the checkpoint, and the gateway
// before it. Whatever a service needs of another it reaches through the door.
func (s *Server) join(ctx context.Context, master *seal.Master) error {
	blobs, err := blob.OpenFiles(filepath.Join(s.config.Data, blobDir))
	if err != nil {
		return err
	}
	now := s.config.Now
	s.jobs = job.NewQueue(s.db, job.Options{Home: s.home.id, Log: s.log})
	s.trail = cloudtrail.New(s.db, s.jobs, cloudtrail.Options{Now: now})
	s.iam = iam.New(s.db, master, iam.Options{DevCredentials: s.config.DevCredentials, Now: now, Uses: s.trail})
	s.door = checkpoint.New(s.iam, s.trail, checkpoint.Options{Log: s.log, Now: now, BaseURL: s.URL(), Parameters: wire.Redact, Check: api.Check, Messages: master.For("sts/message")})
	s.organizations = organizations.New(s.db, s.door, s.jobs, tenants{s}, organizations.Options{Now: now})
	s.door.Bind(s.organizations)
	s.iam.Bind(s.organizations)
	s.events = events.New(s.db, s.door, s.jobs, s.iam, events.Options{Now: now})
	s.commit = codecommit.New(s.db, s.git, s.door, s.jobs)
	s.pipelines = codepipeline.New(s.db, s.door, s.jobs, codepipeline.Options{Log: s.log})
	s.buckets = s3.New(s.db, blobs, master.For("s3"), s.door, s.iam, s.jobs)
	s.keys = kms.New(s.db, s.jobs, master, s.iam, kms.Options{Now: now})
	s.buckets.Alone() // the data directory is ours, and the blobs lie in it

	s.door.Serve("iam", s.iam.Operations())
	s.door.Serve("sts", sts.New(s.iam, master.For("sts/token"), sts.Options{Messages: master.For("sts/message")}).Operations())
	s.door.Serve("kms", s.keys.Operations())
	s.door.Serve("s3", s.buckets.Operations())
	s.door.Serve("codecommit", s.commit.Operations())
	s.door.Serve("events", s.events.Operations())
	s.door.Serve("codepipeline", s.pipelines.Operations())
	s.door.Serve("cloudformation", cloudformation.New(s.db, s.jobs, s.door, master.For("cloudformation"), cloudformation.Options{Log: s.log, Now: now}).Operations())
	s.door.Serve("cloudtrail", s.trail.Operations())
	s.door.Serve("organizations", s.organizations.Operations())

	admin, err := s.admin()
	if err != nil {
		return err
	}
	api := gateway.New(s.door, gateway.Options{
		Credentials:  s.iam,
		Repositories: s.commit.Regions,
		Buckets:      s.web,
		Log:          s.log,
		Now:          now,
	})
	// Not a ServeMux, which redirects from paths with // or .. in them: S3's
	// keys may have both.
	edge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_sekisho/admin/") {
			admin.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
	s.http = &http.Server{
		Handler:           edge,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	// What a process that died left between git and the record is mended
	// before anybody is answered.
	return s.commit.Reconcile(ctx)
}

// web is what a bucket shows to browsers.
func (s *Server) web(ctx context.Context, bucket string) (*gateway.Web, error) {
	rules, site, exists, err := s.buckets.Web(ctx, bucket)
	if err != nil || !exists {
		return nil, err
	}
	return &gateway.Web{CORS: rules, Website: site}, nil
}

// URL is where clients reach the server.
func (s *Server) URL() string { return "https://" + s.listener.Addr().String() }

// Run serves until ctx ends, then lets calls and jobs under way come to an
// end. ready is called once the server answers; it may be nil.
func (s *Server) Run(ctx context.Context, ready func()) error {
	// Background work outlives the last call by a moment: what a call has
	// written is safe, and goes on after the next start.
	behind, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(ctx)
	g.Go(func() error { return s.jobs.Run(behind) })
	g.Go(func() error { return s.events.Run(behind) })
	g.Go(func() error { return s.buckets.Run(behind) })
	g.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-failed.Done()
		defer stop()
		ending, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		if err := s.http.Shutdown(ending); err != nil {
			s.log.Warn("calls were cut off", "error", err)
			return s.http.Close()
		}
		return nil
	})
	if err := s.announce(); err != nil {
		return err
	}
	defer os.Remove(filepath.Join(s.config.Data, endpointFile))
	if ready != nil {
		ready()
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Close releases everything. Run has ended before.
func (s *Server) Close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.git != nil {
		errs = append(errs, s.git.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.home != nil {
		errs = append(errs, s.home.unlock())
	}
	return errors.Join(errs...)
}
