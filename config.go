package sekisho

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/sekisho/sekisho/internal/aws"
)

// DefaultListen is where a server listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:4566"

// Config says how a server runs. Data is required; the zero value of
// everything else works.
type Config struct {
	// Data is the directory that holds everything: database, bodies,
	// repositories, keys.
	Data string
	// Listen is HOST:PORT; port 0 takes a free one.
	Listen string
	// Database is a PostgreSQL URL; "" means SQLite inside Data.
	Database string
	// Accounts come into being at start when they are missing.
	Accounts []Account
	// DevCredentials accepts access keys that nobody made (design of the
	// emulators): never where anybody else can reach the server.
	DevCredentials bool
	// Log receives what happens; nil means slog.Default.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Account is an AWS account by name and id.
type Account struct {
	Name string
	// ID has twelve digits; "" means a generated one.
	ID string
}

// ParseAccount reads NAME=ID, or NAME alone.
func ParseAccount(text string) (Account, error) {
	name, id, named := strings.Cut(text, "=")
	if named && id == "" {
		return Account{}, fmt.Errorf("account %q: want NAME=ID, or NAME alone", text)
	}
	a := Account{Name: name, ID: id}
	return a, a.check()
}

// check refuses names that could not stand as a profile in a credentials file,
// and ids that are none.
func (a Account) check() error {
	if a.Name == "" || strings.ContainsFunc(a.Name, odd) {
		return aws.Errorf("InvalidAccount", "%q cannot name an account: want a word without spaces, brackets and equal signs", a.Name)
	}
	if a.ID != "" && !aws.IsAccountID(a.ID) {
		return aws.Errorf("InvalidAccount", "%q is not an account id, which has twelve digits", a.ID)
	}
	return nil
}

// odd are characters that cannot be in the name of a profile.
func odd(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("[]=", r)
}

// Names of the files in a data directory.
const (
	databaseFile    = "sekisho.db"
	masterFile      = "master.key"
	credentialsFile = "credentials"
	endpointFile    = "endpoint"
	adminFile       = "admin.token"
	lockFile        = "lock"
	homeFile        = "home"
	blobDir         = "blobs"
	gitDir          = "git"
)

// DefaultData is the data directory of whoever runs the command:
// $SEKISHO_DATA, or sekisho below the user's data directory.
func DefaultData() (string, error) {
	if dir := os.Getenv("SEKISHO_DATA"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "sekisho"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("no home directory to keep data in: say where with --data DIR")
	}
	return filepath.Join(home, ".local", "share", "sekisho"), nil
}
