package codepipeline

import "slices"

// The engine decides what happens next in a pipeline. It is a pure function:
// advance looks at the executions that are under way and returns the steps to
// record; recorded, they lead to the state from which it is asked again.

// Execution modes.
const (
	superseded = "SUPERSEDED"
	queued     = "QUEUED"
	parallel   = "PARALLEL"
)

// Statuses of pipeline, stage and action executions, as AWS spells them.
const (
	inProgress    = "InProgress"
	stopping      = "Stopping"
	stopped       = "Stopped"
	succeeded     = "Succeeded"
	supersededRun = "Superseded"
	failed        = "Failed"
	cancelled     = "Cancelled"
	abandoned     = "Abandoned"
)

// Ways in which an execution was asked to end.
const (
	stopWait    = "wait"    // running actions finish, nothing new starts
	stopAbandon = "abandon" // running actions are left to themselves
	stopCancel  = "cancel"  // as wait, because the definition changed
)

// world is what advance looks at: one pipeline with its unfinished executions.
type world struct {
	mode   string
	closed map[string]bool // stages whose entrance is shut
	runs   []*run          // oldest first
	// arrivals numbers the arrivals in front of stages.
	arrivals int64
}

// run is one unfinished execution.
type run struct {
	id      string
	seq     int64
	stages  []stage // of the definition it started with
	at      int     // index of the stage it is in, or waits for
	inside  bool
	arrived int64
	stop    string
	// actions are those of the current stage that started, by name, without
	// those a retry replaced: their status.
	actions map[string]string
	over    bool
}

type stage struct {
	name    string
	actions []action
}

type action struct {
	name     string
	runOrder int64
}

// stepKind says what a step does.
type stepKind int

const (
	enterStage    stepKind = iota + 1 // the execution enters a stage
	startAction                       // an action starts
	abandonAction                     // a running action is left to itself
	endStage                          // the stage ends with a status
	moveOn                            // the execution waits in front of the next stage
	endRun                            // the execution ends with a status
)

// step is one thing to record.
type step struct {
	kind    stepKind
	run     string
	stage   string
	index   int // of the stage
	action  string
	status  string
	arrived int64
}

// advance returns the steps that follow from the world, in order, and changes
// the world as they do. Asked again it returns none.
func advance(w *world) []step {
	var steps []step
	for {
		before := len(steps)
		for _, r := range w.runs {
			if !r.over && r.inside {
				steps = w.within(r, steps)
			}
		}
		steps = w.supersede(steps)
		for _, r := range w.waiting() {
			steps = w.before(r, steps)
		}
		if len(steps) == before {
			return steps
		}
	}
}

// within decides for an execution inside a stage.
func (w *world) within(r *run, steps []step) []step {
	s := r.stages[r.at]
	if r.stop == stopAbandon {
		for _, a := range s.actions {
			if r.actions[a.name] == inProgress {
				r.actions[a.name] = abandoned
				steps = append(steps, step{kind: abandonAction, run: r.id, stage: s.name, index: r.at, action: a.name})
			}
		}
	}
	running, broken, group := w.look(r, s)
	switch {
	case running && (broken || r.stop != ""):
		return steps // what runs may finish; nothing new starts
	case broken && r.stop == "":
		return w.end(r, steps, failed)
	case group == nil && !running && !broken:
		steps = append(steps, step{kind: endStage, run: r.id, stage: s.name, index: r.at, status: succeeded})
		return w.onward(r, steps)
	case r.stop == stopCancel:
		return w.end(r, steps, cancelled)
	case r.stop != "":
		return w.end(r, steps, stopped)
	case running:
		return steps
	}
	for _, name := range group {
		r.actions[name] = inProgress
		steps = append(steps, step{kind: startAction, run: r.id, stage: s.name, index: r.at, action: name})
	}
	return steps
}

// look tells whether actions of a stage run, whether one failed, and which are
// to start next: those of the lowest run order that has unfinished ones.
func (w *world) look(r *run, s stage) (running, broken bool, group []string) {
	lowest := int64(0)
	for _, a := range s.actions {
		switch r.actions[a.name] {
		case succeeded:
			continue
		case inProgress:
			running = true
		case "":
		default:
			broken = true
		}
		if lowest == 0 || a.runOrder < lowest {
			lowest = a.runOrder
		}
	}
	for _, a := range s.actions {
		if a.runOrder == lowest && r.actions[a.name] == "" {
			group = append(group, a.name)
		}
	}
	return running, broken, group
}

// end ends the stage and the execution with it.
func (w *world) end(r *run, steps []step, status string) []step {
	r.over = true
	return append(steps,
		step{kind: endStage, run: r.id, stage: r.stages[r.at].name, index: r.at, status: status},
		step{kind: endRun, run: r.id, status: status})
}

// onward takes an execution out of a stage that succeeded.
func (w *world) onward(r *run, steps []step) []step {
	if r.at+1 == len(r.stages) {
		r.over = true
		return append(steps, step{kind: endRun, run: r.id, status: succeeded})
	}
	w.arrivals++
	r.at, r.inside, r.arrived, r.actions = r.at+1, false, w.arrivals, map[string]string{}
	return append(steps, step{kind: moveOn, run: r.id, stage: r.stages[r.at].name, index: r.at, arrived: r.arrived})
}

// waiting lists the executions in front of a stage, first come first.
func (w *world) waiting() []*run {
	var list []*run
	for _, r := range w.runs {
		if !r.over && !r.inside {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b *run) int { return int(min(max(a.arrived-b.arrived, -1), 1)) })
	return list
}

// supersede leaves one execution in front of each stage: the newest. It
// applies to those that must wait; where the stage is open and free, the one
// that came is inside before the next comes.
func (w *world) supersede(steps []step) []step {
	if w.mode != superseded {
		return steps
	}
	newest := map[string]*run{}
	for _, r := range w.waiting() {
		name := r.stages[r.at].name
		if n := newest[name]; n == nil || r.seq > n.seq {
			newest[name] = r
		}
	}
	for _, r := range w.waiting() {
		if n := newest[r.stages[r.at].name]; n != r && r.stop == "" && n.stop == "" {
			r.over = true
			steps = append(steps, step{kind: endRun, run: r.id, status: supersededRun})
		}
	}
	return steps
}

// before decides for an execution in front of a stage.
func (w *world) before(r *run, steps []step) []step {
	switch r.stop {
	case "":
	case stopCancel:
		r.over = true
		return append(steps, step{kind: endRun, run: r.id, status: cancelled})
	default:
		r.over = true
		return append(steps, step{kind: endRun, run: r.id, status: stopped})
	}
	s := r.stages[r.at]
	if w.mode != parallel && (w.closed[s.name] || w.taken(s.name) || w.first(s.name) != r) {
		return steps
	}
	r.inside, r.actions = true, map[string]string{}
	return append(steps, step{kind: enterStage, run: r.id, stage: s.name, index: r.at})
}

// taken reports whether an execution is inside a stage.
func (w *world) taken(stage string) bool {
	return slices.ContainsFunc(w.runs, func(r *run) bool {
		return !r.over && r.inside && r.stages[r.at].name == stage
	})
}

// first is the execution whose turn it is to enter a stage.
func (w *world) first(stage string) *run {
	for _, r := range w.waiting() {
		if r.stages[r.at].name == stage {
			return r
		}
	}
	return nil
}
