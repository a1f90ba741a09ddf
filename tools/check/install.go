package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// install installs a package of Debian's where that is possible: there is
// apt-get, and the caller is root. Elsewhere it does nothing.
func install(name string) error {
	apt, err := exec.LookPath("apt-get")
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	fmt.Printf("== %s is missing; installing it\n", name)
	os.Setenv("DEBIAN_FRONTEND", "noninteractive")
	return errors.Join(
		command(".", apt, "update", "-q"),
		command(".", apt, "install", "-y", "-q", "--no-install-recommends", name))
}

// generated holds the generated code against AWS's models, which come with
// Python's botocore: the installed one, or one that pip fetches.
func generated() error {
	if exec.Command("python3", "-c", "import botocore").Run() != nil && exec.Command("python3", "-m", "pip", "--version").Run() != nil {
		if err := install("python3-pip"); err != nil {
			return err
		}
	}
	return command(".", "go", "run", "./internal/api/gen", "-check")
}
