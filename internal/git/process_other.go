//go:build !linux

package git

import (
	"os"
	"os/exec"
)

func isolate(*exec.Cmd) {}

// terminate asks a child to end.
func terminate(cmd *exec.Cmd) error { return cmd.Process.Signal(os.Interrupt) }

// kill ends a child.
func kill(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
