package codepipeline

import (
	"fmt"
	"iter"
	"strings"
)

// executionIDKey is the one key of the namespace codepipeline.
const executionIDKey = "PipelineExecutionId"

// reference is one #{namespace.key}; without a namespace it is malformed.
type reference struct{ namespace, key string }

// references finds the variable references of a configuration value, with
// their texts.
func references(value string) iter.Seq2[reference, string] {
	return func(yield func(reference, string) bool) {
		for {
			start := strings.Index(value, "#{")
			if start < 0 {
				return
			}
			length := strings.IndexByte(value[start:], '}')
			if length < 0 {
				return // not a reference: nothing closes it
			}
			text := value[start : start+length+1]
			if !yield(parseReference(text), text) {
				return
			}
			value = value[start+length+1:]
		}
	}
}

func parseReference(text string) reference {
	namespace, key, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(text, "#{"), "}"), ".")
	if !ok || !plain(namespace) || !plain(key) {
		return reference{}
	}
	return reference{namespace, key}
}

// plain reports whether s is made of the characters of namespaces and keys.
func plain(s string) bool {
	for _, c := range s {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '@':
		default:
			return false
		}
	}
	return s != ""
}

// maxResolved is AWS's bound of one action's configuration with its variables
// filled in.
const maxResolved = 100 << 10

// resolve fills in the variables of a configuration. A value that a variable
// brings is not looked at for further references.
func resolve(config map[string]string, lookup func(reference) (string, bool)) (map[string]string, error) {
	out := make(map[string]string, len(config))
	size := 0
	for name, value := range config {
		var b strings.Builder
		rest := value
		for r, text := range references(value) {
			v, ok := lookup(r)
			if !ok {
				return nil, fmt.Errorf("the variable %s in configuration '%s' could not be resolved", text, name)
			}
			before, after, _ := strings.Cut(rest, text)
			b.WriteString(before)
			b.WriteString(v)
			rest = after
			if b.Len() > maxResolved {
				break
			}
		}
		b.WriteString(rest)
		out[name] = b.String()
		if size += len(name) + b.Len(); size > maxResolved {
			return nil, fmt.Errorf("the resolved action configuration is larger than %d bytes", maxResolved)
		}
	}
	return out, nil
}
