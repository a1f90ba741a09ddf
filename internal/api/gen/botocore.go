package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// botocoreVersion is the release of botocore whose models the committed code
// is generated from. Raise it here, and run `make generate`.
const botocoreVersion = "1.43.11"

// findBotocore returns botocore's data directory: the one given, else the one
// of the installed botocore if it has the pinned version, else that of the
// pinned version, downloaded. cleanup removes what was downloaded.
func findBotocore(given string) (data string, cleanup func(), err error) {
	nothing := func() {}
	if given != "" {
		return given, nothing, nil
	}
	script := "import botocore; print(botocore.__version__); print(botocore.__path__[0])"
	if out, err := exec.Command("python3", "-c", script).Output(); err == nil {
		version, dir, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if version == botocoreVersion {
			return filepath.Join(dir, "data"), nothing, nil
		}
	}
	return downloadBotocore()
}

func downloadBotocore() (data string, cleanup func(), err error) {
	dir, err := os.MkdirTemp("", "botocore-")
	if err != nil {
		return "", nil, err
	}
	cleanup = func() { os.RemoveAll(dir) }
	cmd := exec.Command("python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", dir, "botocore=="+botocoreVersion)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		cleanup()
		return "", nil, fmt.Errorf("download botocore %s: %w", botocoreVersion, err)
	}
	return filepath.Join(dir, "botocore", "data"), cleanup, nil
}
