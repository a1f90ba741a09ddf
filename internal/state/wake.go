package state

import "sync"

// wakes passes on, inside the process, that something happened to a topic.
type wakes struct {
	mu     sync.Mutex
	listen map[string][]chan struct{}
}

func newWakes() *wakes { return &wakes{listen: map[string][]chan struct{}{}} }

// Listen returns a channel that receives after commits that called Wake with
// the topic. Wakes that come while nobody receives are joined into one. stop
// ends the listening. A wake may come without a cause; on a database shared
// between processes one may be lost when a process dies between its commit and
// the news, so listeners there also look by themselves from time to time.
func (db *DB) Listen(topic string) (c <-chan struct{}, stop func()) {
	w := db.wakes
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	w.listen[topic] = append(w.listen[topic], ch)
	w.mu.Unlock()
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, l := range w.listen[topic] {
			if l == ch {
				w.listen[topic] = append(w.listen[topic][:i:i], w.listen[topic][i+1:]...)
				return
			}
		}
	}
}

func (w *wakes) wake(topic string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.listen[topic] {
		poke(l)
	}
}

func (w *wakes) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ls := range w.listen {
		for _, l := range ls {
			poke(l)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
