package cloudformation

import (
	"context"
	"slices"
	"sync"
)

// parallel is how many resources of a stack are worked on at once.
const parallel = 16

// walk calls do for every id, each after those it needs, independent ones at
// the same time. do returns false when the resource failed: its dependents
// are then left out, and without keepGoing nothing more is begun at all. An
// error stops the walk. The answer is the ids that failed, in the order of
// ids.
func walk(ctx context.Context, ids []string, needs func(id string) []string, keepGoing bool,
	do func(ctx context.Context, id string) (bool, error),
) (failed []string, err error) {
	w := walker{waits: map[string]int{}, users: map[string][]string{}, outcome: map[string]bool{}, keepGoing: keepGoing}
	for _, id := range ids {
		w.waits[id] = 0
	}
	for _, id := range ids {
		for _, need := range needs(id) {
			if _, ok := w.waits[need]; ok && need != id {
				w.waits[id]++
				w.users[need] = append(w.users[need], id)
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	slots := make(chan struct{}, parallel)
	var start func(id string)
	start = func(id string) {
		w.wg.Go(func() {
			slots <- struct{}{}
			ready := w.step(ctx, id, do, cancel)
			<-slots
			for _, next := range ready {
				start(next)
			}
		})
	}
	for _, id := range w.first(ids) {
		start(id)
	}
	w.wg.Wait()
	for _, id := range ids {
		if ok, done := w.outcome[id]; done && !ok {
			failed = append(failed, id)
		}
	}
	return failed, w.err
}

type walker struct {
	mu        sync.Mutex
	wg        sync.WaitGroup
	waits     map[string]int
	users     map[string][]string
	outcome   map[string]bool
	keepGoing bool
	stopped   bool
	err       error
}

func (w *walker) first(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return w.waits[id] > 0 })
}

// step does one id and returns those that only waited for it.
func (w *walker) step(ctx context.Context, id string, do func(context.Context, string) (bool, error), cancel func()) []string {
	w.mu.Lock()
	stopped := w.stopped
	w.mu.Unlock()
	if stopped {
		return nil
	}
	ok, err := do(ctx, id)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		w.stopped = true
		cancel()
		return nil
	}
	w.outcome[id] = ok
	if !ok {
		w.stopped = w.stopped || !w.keepGoing
		return nil
	}
	var ready []string
	for _, user := range w.users[id] {
		if w.waits[user]--; w.waits[user] == 0 {
			ready = append(ready, user)
		}
	}
	return ready
}
