//go:build !linux

package e2e

import "testing"

func mounted(t *testing.T, size string) string {
	t.Skip("needs Linux, to mount a file system of " + size)
	return ""
}

func writeProtect(t *testing.T, _ string) { t.Skip("needs Linux") }
