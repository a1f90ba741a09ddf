package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// postgres is the server the tests use.
type postgres struct {
	url  string
	stop func()
	once sync.Once
}

func (p *postgres) close() { p.once.Do(p.stop) }

// openPostgres takes the server that SEKISHO_TEST_POSTGRES names, or starts
// one that lives as long as the check.
func openPostgres() (*postgres, error) {
	if url := os.Getenv("SEKISHO_TEST_POSTGRES"); url != "" {
		return &postgres{url: url, stop: func() {}}, nil
	}
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	return startPostgres(bin)
}

// postgresBin finds the folder of PostgreSQL's programs, and installs them on
// Debian when they are missing and the caller is root.
func postgresBin() (string, error) {
	if bin := findPostgres(); bin != "" {
		return bin, nil
	}
	if err := install("postgresql"); err != nil {
		return "", err
	}
	if bin := findPostgres(); bin != "" {
		return bin, nil
	}
	return "", errors.New("the tests need PostgreSQL: install it (on Debian: apt-get install postgresql), or name a server with SEKISHO_TEST_POSTGRES")
}

func findPostgres() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(slices.Max(found))
}

func startPostgres(bin string) (*postgres, error) {
	dir, err := os.MkdirTemp("", "sekisho-postgres-")
	if err != nil {
		return nil, err
	}
	as, err := owner(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	run := func(name string, args ...string) error {
		c := exec.Command(filepath.Join(bin, name), args...)
		c.Dir, c.SysProcAttr = dir, as
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		return nil
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := run("initdb", "-D", data, "-U", "sekisho", "-A", "trust", "-E", "UTF8", "--locale=C"); err != nil {
		return nil, err
	}
	options := fmt.Sprintf("-p %d -h 127.0.0.1 -k %s -c max_connections=400", port, dir)
	if err := run("pg_ctl", "start", "-w", "-D", data, "-l", filepath.Join(dir, "log"), "-o", options); err != nil {
		return nil, err
	}
	return &postgres{
		url: fmt.Sprintf("postgres://sekisho@127.0.0.1:%d/postgres?sslmode=disable", port),
		stop: func() {
			if err := run("pg_ctl", "stop", "-D", data, "-m", "immediate"); err != nil {
				fmt.Fprintln(os.Stderr, "check:", err)
			}
			os.RemoveAll(dir)
		},
	}, nil
}

// owner gives dir to the user PostgreSQL runs as: it refuses to be root.
func owner(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
