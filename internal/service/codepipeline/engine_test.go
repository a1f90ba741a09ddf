package codepipeline

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Two stages after the source; Deploy has two groups.
var abc = []stage{
	{"Source", []action{{"src", 1}}},
	{"Build", []action{{"one", 1}, {"two", 1}}},
	{"Deploy", []action{{"first", 1}, {"last", 5}}},
}

// told prints steps the way the tests read them.
func told(steps []step) []string {
	out := []string{}
	for _, s := range steps {
		switch s.kind {
		case enterStage:
			out = append(out, s.run+" enters "+s.stage)
		case startAction:
			out = append(out, s.run+" starts "+s.action)
		case abandonAction:
			out = append(out, s.run+" abandons "+s.action)
		case endStage:
			out = append(out, s.run+" ends "+s.stage+" "+s.status)
		case moveOn:
			out = append(out, s.run+" waits for "+s.stage)
		case endRun:
			out = append(out, s.run+" is "+s.status)
		}
	}
	return out
}

func newRun(seq int64) *run {
	return &run{id: fmt.Sprint("r", seq), seq: seq, stages: abc, arrived: seq}
}

// in puts a run into a stage whose actions have statuses.
func in(seq int64, at int, statuses ...string) *run {
	r := newRun(seq)
	r.at, r.inside, r.actions = at, true, map[string]string{}
	for i, s := range statuses {
		if s != "" {
			r.actions[abc[at].actions[i].name] = s
		}
	}
	return r
}

// before puts a run in front of a stage.
func before(seq int64, at int, arrived int64) *run {
	r := newRun(seq)
	r.at, r.arrived = at, arrived
	return r
}

func stop(r *run, how string) *run {
	r.stop = how
	return r
}

func TestAdvance(t *testing.T) {
	shut := map[string]bool{"Build": true}
	for _, tt := range []struct {
		name string
		w    world
		want []string
	}{
		{"a new execution starts its sources", world{runs: []*run{newRun(1)}},
			[]string{"r1 enters Source", "r1 starts src"}},
		{"a running action is waited for", world{runs: []*run{in(1, 0, inProgress)}}, []string{}},
		{"a stage that succeeded leads to the next", world{runs: []*run{in(1, 0, succeeded)}},
			[]string{"r1 ends Source Succeeded", "r1 waits for Build", "r1 enters Build", "r1 starts one", "r1 starts two"}},
		{"a group waits for all of the one before", world{runs: []*run{in(1, 1, succeeded, inProgress)}}, []string{}},
		{"the second group starts after the first", world{runs: []*run{in(1, 2, succeeded)}}, []string{"r1 starts last"}},
		{"the last stage ends the execution", world{runs: []*run{in(1, 2, succeeded, succeeded)}},
			[]string{"r1 ends Deploy Succeeded", "r1 is Succeeded"}},
		{"a failure lets the others finish", world{runs: []*run{in(1, 1, failed, inProgress)}}, []string{}},
		{"and then fails the stage", world{runs: []*run{in(1, 1, failed, succeeded)}}, []string{"r1 ends Build Failed", "r1 is Failed"}},
		{"no second group after a failure", world{runs: []*run{in(1, 2, failed)}}, []string{"r1 ends Deploy Failed", "r1 is Failed"}},
		{"a retry starts what failed", world{runs: []*run{in(1, 1, succeeded, "")}}, []string{"r1 starts two"}},

		{"a taken stage is waited for", world{runs: []*run{in(1, 1, inProgress, inProgress), in(2, 0, succeeded)}},
			[]string{"r2 ends Source Succeeded", "r2 waits for Build"}},
		{"the waiter enters when the stage is free", world{runs: []*run{in(1, 1, succeeded, succeeded), before(2, 1, 9)}},
			[]string{"r1 ends Build Succeeded", "r1 waits for Deploy", "r2 enters Build", "r1 enters Deploy", "r1 starts first", "r2 starts one", "r2 starts two"}},
		{"a failed stage is free", world{runs: []*run{in(1, 1, failed, succeeded), before(2, 1, 9)}},
			[]string{"r1 ends Build Failed", "r1 is Failed", "r2 enters Build", "r2 starts one", "r2 starts two"}},
		{"a newer waiter replaces the older", world{runs: []*run{in(1, 1, inProgress), before(2, 1, 8), before(3, 1, 9)}},
			[]string{"r2 is Superseded"}},
		{"an older one that comes late is replaced too", world{runs: []*run{in(1, 1, inProgress), before(2, 1, 9), before(3, 1, 8)}},
			[]string{"r2 is Superseded"}},
		{"of three starts during the first one's source one remains", world{runs: []*run{in(1, 0, inProgress), newRun(2), newRun(3), newRun(4)}},
			[]string{"r2 is Superseded", "r3 is Superseded"}},
		{"nobody is superseded inside a stage", world{runs: []*run{in(1, 1, inProgress), in(2, 0, inProgress)}}, []string{}},

		{"QUEUED keeps all waiters in order", world{mode: queued, runs: []*run{in(1, 1, succeeded, succeeded), before(2, 1, 8), before(3, 1, 9)}},
			[]string{"r1 ends Build Succeeded", "r1 waits for Deploy", "r2 enters Build", "r1 enters Deploy", "r1 starts first", "r2 starts one", "r2 starts two"}},
		{"QUEUED goes by arrival", world{mode: queued, runs: []*run{before(2, 1, 9), before(3, 1, 8)}},
			[]string{"r3 enters Build", "r3 starts one", "r3 starts two"}},
		{"PARALLEL knows no locks", world{mode: parallel, runs: []*run{in(1, 1, inProgress, inProgress), before(2, 1, 8), before(3, 1, 9)}},
			[]string{"r2 enters Build", "r3 enters Build", "r2 starts one", "r2 starts two", "r3 starts one", "r3 starts two"}},

		{"a shut transition holds", world{closed: shut, runs: []*run{in(1, 0, succeeded)}},
			[]string{"r1 ends Source Succeeded", "r1 waits for Build"}},
		{"in front of it the newest remains", world{closed: shut, runs: []*run{before(1, 1, 8), in(2, 0, succeeded)}},
			[]string{"r2 ends Source Succeeded", "r2 waits for Build", "r1 is Superseded"}},
		{"QUEUED waiters queue in front of it", world{mode: queued, closed: shut, runs: []*run{before(1, 1, 8), before(2, 1, 9)}}, []string{}},
		{"PARALLEL ignores transitions", world{mode: parallel, closed: shut, runs: []*run{before(1, 1, 8)}},
			[]string{"r1 enters Build", "r1 starts one", "r1 starts two"}},

		{"stop waits for what runs", world{runs: []*run{stop(in(1, 1, inProgress, succeeded), stopWait)}}, []string{}},
		{"stop and then ends", world{runs: []*run{stop(in(1, 2, succeeded), stopWait)}}, []string{"r1 ends Deploy Stopped", "r1 is Stopped"}},
		{"stop after a failure", world{runs: []*run{stop(in(1, 1, failed, succeeded), stopWait)}}, []string{"r1 ends Build Stopped", "r1 is Stopped"}},
		{"a stage that was done is done", world{runs: []*run{stop(in(1, 1, succeeded, succeeded), stopWait)}},
			[]string{"r1 ends Build Succeeded", "r1 waits for Deploy", "r1 is Stopped"}},
		{"too late to stop", world{runs: []*run{stop(in(1, 2, succeeded, succeeded), stopWait)}}, []string{"r1 ends Deploy Succeeded", "r1 is Succeeded"}},
		{"abandon ends at once", world{runs: []*run{stop(in(1, 1, inProgress, succeeded), stopAbandon)}},
			[]string{"r1 abandons one", "r1 ends Build Stopped", "r1 is Stopped"}},
		{"a waiter stops", world{closed: shut, runs: []*run{stop(before(1, 1, 8), stopWait)}}, []string{"r1 is Stopped"}},
		{"a new definition cancels", world{runs: []*run{stop(in(1, 2, succeeded), stopCancel)}}, []string{"r1 ends Deploy Cancelled", "r1 is Cancelled"}},
		{"after what runs", world{runs: []*run{stop(in(1, 2, inProgress), stopCancel)}}, []string{}},
		{"a stop frees the stage", world{runs: []*run{stop(in(1, 1, inProgress), stopAbandon), before(2, 1, 9)}},
			[]string{"r1 abandons one", "r1 ends Build Stopped", "r1 is Stopped", "r2 enters Build", "r2 starts one", "r2 starts two"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.w.mode == "" {
				tt.w.mode = superseded
			}
			tt.w.arrivals = 100
			if diff := cmp.Diff(tt.want, told(advance(&tt.w))); diff != "" {
				t.Error(diff)
			}
			if again := advance(&tt.w); len(again) != 0 {
				t.Errorf("asked again: %v", told(again))
			}
		})
	}
}

// Whatever happens in whatever order: no stage has two executions, each stage
// of each execution is entered once, and everything comes to an end.
func TestAdvanceHoldsItsPromises(t *testing.T) {
	for seed := range int64(300) {
		rnd := rand.New(rand.NewSource(seed))
		mode := []string{superseded, queued, parallel}[seed%3]
		w := &world{mode: mode}
		var all []*run
		entered := map[string]int{}
		note := func(steps []step) {
			for _, s := range steps {
				if s.kind == enterStage {
					entered[s.run+"/"+s.stage]++
				}
			}
		}
		for round := range 200 {
			if len(all) < 8 && rnd.Intn(3) == 0 {
				w.arrivals++
				r := newRun(int64(len(all) + 1))
				r.arrived = w.arrivals
				all = append(all, r)
				w.runs = append(w.runs, r)
			}
			w.closed = map[string]bool{}
			if round < 150 && rnd.Intn(4) == 0 {
				w.closed["Deploy"] = true
			}
			for _, r := range w.runs {
				if rnd.Intn(40) == 0 {
					r.stop = []string{stopWait, stopAbandon, stopCancel}[rnd.Intn(3)]
				}
				if !r.inside {
					continue
				}
				for _, a := range r.stages[r.at].actions {
					if r.actions[a.name] == inProgress && rnd.Intn(2) == 0 {
						r.actions[a.name] = succeeded
						if rnd.Intn(12) == 0 {
							r.actions[a.name] = failed
						}
					}
				}
			}
			note(advance(w))
			w.runs = slices.DeleteFunc(w.runs, func(r *run) bool { return r.over })
			if mode == parallel {
				continue
			}
			busy := map[string]string{}
			for _, r := range w.runs {
				if r.inside {
					if other := busy[r.stages[r.at].name]; other != "" {
						t.Fatalf("seed %d: %s and %s are both in %s", seed, other, r.id, r.stages[r.at].name)
					}
					busy[r.stages[r.at].name] = r.id
				}
			}
		}
		for where, n := range entered {
			if n != 1 {
				t.Errorf("seed %d: %s entered %d times", seed, where, n)
			}
		}
		if len(w.runs) > 0 {
			t.Errorf("seed %d (%s): %s never ended", seed, mode, w.runs[0].id)
		}
	}
}

func TestResolve(t *testing.T) {
	values := map[reference]string{{"ns", "Key"}: "v", {"ns", "Odd"}: "#{ns.Key}", {"variables", "x"}: "1"}
	lookup := func(r reference) (string, bool) { v, ok := values[r]; return v, ok }
	for _, tt := range []struct{ in, want, err string }{
		{"plain", "plain", ""},
		{"a #{ns.Key} b #{variables.x}#{ns.Key}", "a v b 1v", ""},
		{"#{ns.Odd}", "#{ns.Key}", ""},
		{"#{open", "#{open", ""},
		{"#{ns.None}", "", "#{ns.None}"},
		{"#{bad}", "", "#{bad}"},
		{"$#{ns.Key}}", "$v}", ""},
	} {
		got, err := resolve(map[string]string{"k": tt.in}, lookup)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q: err = %v", tt.in, err)
			}
			continue
		}
		if err != nil || got["k"] != tt.want {
			t.Errorf("%q = %q, %v; want %q", tt.in, got["k"], err, tt.want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("a #{ns.Key} b")
	f.Add("#{#{ns.Key}}")
	f.Fuzz(func(t *testing.T, value string) {
		resolve(map[string]string{"k": value}, func(r reference) (string, bool) { return value, r.namespace == "ns" })
	})
}

func TestContentType(t *testing.T) {
	for key, want := range map[string]string{
		"release/index.html": "text/html", "A.CSS": "text/css", "x.tar.gz": "application/x-tar", "x.tgz": "application/x-tar", "x.gz": "",
		"logo.svgz": "image/svg+xml", ".html": "", "dir.html/none": "", "noext": "", "a.json": "application/json", "": "",
	} {
		if got := contentType(key); got != want {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}

func TestInside(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a/b.txt": true, ".hidden": true, "a..b": true, "..a": true,
		"": false, "../a": false, "a/../../b": false, "/etc/passwd": false, `..\a`: false, "a//b": false, "./a": false, "..": false, "a/..": false,
		"a\x00b": false, `a\..\b`: false, `\a`: false, `a\b`: true, "a\xff": false, "a:b": true,
	} {
		if got := inside(name) == nil; got != ok {
			t.Errorf("%q: %v, want %v", name, got, ok)
		}
	}
}

func FuzzInside(f *testing.F) {
	f.Add("a/b")
	f.Add("../a")
	f.Fuzz(func(t *testing.T, name string) {
		if inside(name) == nil && (strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..")) {
			t.Errorf("%q passes", name)
		}
	})
}

func BenchmarkAdvance(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		w := &world{mode: superseded, arrivals: 3, runs: []*run{in(1, 1, succeeded, succeeded), in(2, 0, succeeded)}}
		advance(w)
	}
}
