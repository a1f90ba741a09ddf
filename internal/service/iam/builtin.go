package iam

import (
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"io/fs"
	"path"
	"strings"
	"time"
)

// awsOwned is the account of AWS's own policies in their ARNs.
const awsOwned = "aws"

//go:embed builtin
var builtinFiles embed.FS

// builtinPolicy is a policy that AWS keeps and every account may attach. The
// documents are sekisho's own: they allow what their names say, for the
// services that delivery needs; docs/divergences.md says so.
// The name has the policy's path before it, if that is not /.
type builtinPolicy struct{ name, document string }

// builtins are sorted by path and name.
var builtins = readBuiltins()

func readBuiltins() []builtinPolicy {
	var list []builtinPolicy
	err := fs.WalkDir(builtinFiles, "builtin", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := builtinFiles.ReadFile(file)
		list = append(list, builtinPolicy{strings.TrimSuffix(strings.TrimPrefix(file, "builtin/"), ".json"), string(text)})
		return err
	})
	if err != nil {
		panic(err) // the files are part of the binary
	}
	return list
}

const builtinPrefix = "arn:aws:iam::aws:policy/"

// builtin finds one of AWS's own policies.
func builtin(arn string) (builtinPolicy, bool) {
	name, ok := strings.CutPrefix(arn, builtinPrefix)
	if !ok {
		return builtinPolicy{}, false
	}
	for _, b := range builtins {
		if b.name == name {
			return b, true
		}
	}
	return builtinPolicy{}, false
}

// builtinSince is the date that AWS's own policies show.
var builtinSince = time.Date(2015, 2, 6, 18, 40, 0, 0, time.UTC)

func (b builtinPolicy) managedPolicy() managedPolicy {
	sum := sha256.Sum256([]byte(b.name))
	dir, name := path.Split("/" + b.name)
	return managedPolicy{
		Account: awsOwned, Folded: strings.ToLower(name), Name: name, Path: dir, ARN: builtinPrefix + b.name,
		ID:             "ANPA" + base32.StdEncoding.EncodeToString(sum[:15])[:17],
		Description:    "Kept by AWS: " + name,
		DefaultVersion: 1, LastVersion: 1, Created: builtinSince, Updated: builtinSince,
	}
}
