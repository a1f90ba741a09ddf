package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// installed holds that a program is there, and installs the packages of
// Debian's that bring it when it is not and that is possible: there is apt-get,
// and the caller is root. why says what it is for.
func installed(program, why string, packages ...string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if err := install(packages...); err != nil {
		return err
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%s needs %s: install it (on Debian: apt-get install %s)", why, program, packages[0])
	}
	return nil
}

func install(packages ...string) error {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	fmt.Printf("== installing %v\n", packages)
	os.Setenv("DEBIAN_FRONTEND", "noninteractive")
	return errors.Join(
		command(".", apt, "update", "-q"),
		command(".", apt, append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)...))
}

// The clients of AWS's that the tests drive, and whose models the generated
// code comes from.
const (
	awsCLI   = "awscli==1.45.11"
	boto3    = "boto3==1.43.11"
	botocore = "botocore==1.43.11"
)

// clients sees to the AWS CLI and boto3: what is installed, or what pip puts
// below bin/clients.
func clients() error {
	const both = "import awscli, boto3, botocore; assert 'botocore==' + botocore.__version__ == '" + botocore + "'"
	if _, err := exec.LookPath("aws"); err == nil && exec.Command("python3", "-c", both).Run() == nil {
		return nil
	}
	if err := installed("python3", "the real clients", "python3"); err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Join("bin", "clients"))
	if err != nil {
		return err
	}
	os.Setenv("PYTHONPATH", dir)
	os.Setenv("PATH", filepath.Join(dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	if exec.Command("python3", "-c", both).Run() == nil {
		return nil
	}
	if exec.Command("python3", "-m", "pip", "--version").Run() != nil {
		if err := install("python3-pip"); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return command(".", "python3", "-m", "pip", "install", "--quiet", "--target", dir, awsCLI, boto3, botocore)
}

// generated holds the generated code against AWS's models, which come with
// botocore.
func generated() error { return command(".", "go", "run", "./internal/api/gen", "-check") }

// compiler sees to the C compiler that the race detector is linked with.
func compiler() error {
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		return err
	}
	return installed(strings.TrimSpace(string(cc)), "the race detector", "gcc", "libc6-dev")
}
