package iam

import (
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"strings"
	"time"
)

// awsOwned is the account of AWS's own policies in their ARNs.
const awsOwned = "aws"

//go:embed builtin/*.json
var builtinFiles embed.FS

// builtinPolicy is a policy that AWS keeps and every account may attach. The
// documents are sekisho's own: they allow what their names say, for the
// services that delivery needs; docs/divergences.md says so.
type builtinPolicy struct{ name, document string }

// builtins are sorted by name.
var builtins = readBuiltins()

func readBuiltins() []builtinPolicy {
	entries, err := builtinFiles.ReadDir("builtin")
	if err != nil {
		panic(err) // the folder is part of the binary
	}
	var list []builtinPolicy
	for _, e := range entries {
		text, err := builtinFiles.ReadFile("builtin/" + e.Name())
		if err != nil {
			panic(err)
		}
		list = append(list, builtinPolicy{strings.TrimSuffix(e.Name(), ".json"), string(text)})
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
	return managedPolicy{
		Account: awsOwned, Folded: strings.ToLower(b.name), Name: b.name, Path: "/", ARN: builtinPrefix + b.name,
		ID:             "ANPA" + base32.StdEncoding.EncodeToString(sum[:15])[:17],
		Description:    "Kept by AWS: " + b.name,
		DefaultVersion: 1, LastVersion: 1, Created: builtinSince, Updated: builtinSince,
	}
}
