package git

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// isolate puts a child into a process group of its own, so that it and its
// helpers can be ended together and a terminal's interrupt reaches only us.
// The kernel ends it when we are killed: no orphan moves a ref behind our
// successor's back.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// terminate asks a child and its helpers to end.
func terminate(cmd *exec.Cmd) error { return signal(cmd, syscall.SIGTERM) }

// kill ends a child and whatever helpers it left.
func kill(cmd *exec.Cmd) { _ = signal(cmd, syscall.SIGKILL) }

func signal(cmd *exec.Cmd, s syscall.Signal) error {
	err := syscall.Kill(-cmd.Process.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
