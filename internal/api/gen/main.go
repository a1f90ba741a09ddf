// Command gen writes the packages internal/api/<service> from the service
// models that botocore carries: Go structs with wire tags, typed clients, and
// the table of operations, errors and constraints that package wire runs on.
//
//	go run ./internal/api/gen [-botocore DIR] [-out DIR] [-check]
//
// With -check nothing is written: it fails when the committed code differs
// from what the models give.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// services are the services to generate, by their names in botocore, which
// are also the names of the packages and those used throughout sekisho.
var services = []string{
	"iam", "sts", "kms", "s3", "codecommit", "events", "codepipeline", "cloudformation", "cloudtrail",
	"organizations",
}

func main() {
	botocore := flag.String("botocore", "", "botocore's `data` directory; default: the installed or downloaded pinned version")
	out := flag.String("out", "internal/api", "directory of the generated packages")
	check := flag.Bool("check", false, "write nothing, fail when the generated code is stale")
	flag.Parse()
	if err := run(*botocore, *out, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(botocore, out string, check bool) error {
	data, cleanup, err := findBotocore(botocore)
	if err != nil {
		return err
	}
	defer cleanup()
	for _, service := range services {
		m, err := readModel(data, service)
		if err != nil {
			return err
		}
		files, err := generate(service, m)
		if err != nil {
			return fmt.Errorf("%s: %w", service, err)
		}
		for _, f := range files {
			if err := put(filepath.Join(out, service, f.name), f.text, check); err != nil {
				return err
			}
		}
	}
	return nil
}

func put(name string, text []byte, check bool) error {
	have, err := os.ReadFile(name)
	if err == nil && bytes.Equal(have, text) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is stale: run make generate", name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o666)
}
