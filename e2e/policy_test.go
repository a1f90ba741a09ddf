package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestPolicyEval drives the binary over the table of rules, and waits for an
// answer before it asks on.
func TestPolicyEval(t *testing.T) {
	text, err := os.ReadFile("../internal/policyeval/testdata/rules.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), binary, "policy", "eval", "--decision-only")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	for line := range strings.Lines(string(text)) {
		var want struct{ ID, Rule, Want string }
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, line); err != nil {
			t.Fatal(err)
		}
		answer, err := answers.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			ID, Decision string
			Error        struct{ Code string }
		}
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != want.ID || got.Decision+got.Error.Code != want.Want {
			t.Errorf("%s: %s", want.Rule, answer)
		}
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestPolicyEvalStatus(t *testing.T) {
	for text, want := range map[string]int{"": 0, "{}\n": 0, "{\nhello\n{}": 0, "hello\n": 2, "<a>": 2} {
		c := exec.CommandContext(t.Context(), binary, "policy", "eval")
		c.Stdin = strings.NewReader(text)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		status := 0
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			status = e.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != want || (want != 0) != (stderr.Len() > 0) {
			t.Errorf("%q ends with %d: %s%s", text, status, out, stderr.Bytes())
		}
	}
}

// TestPolicyEvalSpeed holds a loose bound: a million lines a minute is the
// aim, on a machine that does nothing else.
func TestPolicyEvalSpeed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	text, err := os.ReadFile("../internal/policyeval/testdata/rules.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	const times = 300
	c := exec.CommandContext(t.Context(), binary, "policy", "eval", "--decision-only")
	c.Stdin = bytes.NewReader(bytes.Repeat(text, times))
	start := time.Now()
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	took, lines := time.Since(start), bytes.Count(out, []byte("\n"))
	if want := times * bytes.Count(text, []byte("\n")); lines != want {
		t.Errorf("%d answers to %d lines", lines, want)
	}
	perMinute := float64(lines) / took.Minutes()
	t.Logf("%d lines in %v: %.1f million a minute", lines, took, perMinute/1e6)
	if perMinute < 200_000 {
		t.Errorf("%.0f lines a minute", perMinute)
	}
}
