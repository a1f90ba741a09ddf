// Check is the whole gate: format, vet, lint, generated code, import rules,
// and all tests on SQLite and PostgreSQL, with the race detector. CI runs the
// same command.
//
//	go run ./tools/check          everything
//	go run ./tools/check -fast    without the race detector and the slow tests
//
// It needs Go and git. PostgreSQL is taken from SEKISHO_TEST_POSTGRES (the URL
// of a server on which tests may make schemas and databases), or started from
// the machine's installation. The AWS CLI and boto3 are the installed ones, or
// come by pip into bin/clients. On Debian, PostgreSQL, Python's pip and a C
// compiler (for the race detector) are installed when they are missing and the
// caller is root.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	fast := flag.Bool("fast", false, "without the race detector and the slow tests")
	flag.Parse()
	if err := run(*fast); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

type step struct {
	name string
	do   func() error
}

func run(fast bool) error {
	if _, err := os.Stat("sekisho.go"); err != nil {
		return errors.New("run it in the root of the repository: go run ./tools/check")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	database, err := openPostgres()
	if err != nil {
		return err
	}
	defer database.close()
	go func() {
		<-stop
		database.close()
		os.Exit(130)
	}()
	os.Setenv("SEKISHO_TEST_POSTGRES", database.url)

	test := []string{"test", "-timeout=20m"}
	if fast {
		test = append(test, "-short")
	} else {
		test = append(test, "-race")
		if err := compiler(); err != nil {
			return err
		}
	}
	for _, s := range []step{
		{"format", format},
		{"vet", func() error { return both("vet", "./...") }},
		{"lint", lint},
		{"real clients", clients},
		{"generated code", generated},
		{"tests", func() error { return command(".", "go", append(test, "./...")...) }},
		{"tests with real clients", func() error { return command("e2e", "go", "test", "-timeout=30m", "./...") }},
	} {
		fmt.Printf("== %s\n", s.name)
		start := time.Now()
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			fmt.Printf("   %s\n", took.Round(time.Second))
		}
	}
	return nil
}

// both runs a go command in both modules.
func both(args ...string) error {
	return errors.Join(command(".", "go", args...), command("e2e", "go", args...))
}

func command(dir, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Dir, c.Stdout, c.Stderr = dir, os.Stdout, os.Stderr
	return c.Run()
}

// format fails when gofmt would change a file that git knows or would add.
func format() error {
	files, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		return err
	}
	args := []string{"-l"}
	for name := range strings.FieldsSeq(string(files)) {
		if _, err := os.Stat(name); err == nil {
			args = append(args, name)
		}
	}
	out, err := exec.Command("gofmt", args...).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		return fmt.Errorf("gofmt -w is wanted for:\n%s", out)
	}
	return nil
}

// lint runs staticcheck, at the version that tools/lint/go.mod pins.
func lint() error {
	bin, err := filepath.Abs(filepath.Join("bin", "staticcheck"))
	if err != nil {
		return err
	}
	if err := command(filepath.Join("tools", "lint"), "go", "build", "-o", bin, "honnef.co/go/tools/cmd/staticcheck"); err != nil {
		return err
	}
	return errors.Join(command(".", bin, "./..."), command("e2e", bin, "./..."))
}
