package kms

import "sync"

// cacheLimit bounds a cache; a full one is emptied, and fills again from the
// database.
const cacheLimit = 4096

// cache keeps what is expensive to make and never changes under its key.
type cache[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]V
}

func newCache[K comparable, V any]() *cache[K, V] {
	return &cache[K, V]{entries: map[K]V{}}
}

// drop forgets the entry of k.
func (c *cache[K, V]) drop(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, k)
}

// get returns the entry of k, made by make when there is none.
func (c *cache[K, V]) get(k K, make func() (V, error)) (V, error) {
	c.mu.RLock()
	v, ok := c.entries[k]
	c.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := make()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= cacheLimit {
		clear(c.entries)
	}
	c.entries[k] = v
	return v, nil
}
