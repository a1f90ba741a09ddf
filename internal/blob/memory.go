package blob

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory is a Store for tests: it forgets everything with the process.
type Memory struct {
	mu    sync.RWMutex
	blobs map[string]body
}

type body struct {
	bytes    []byte
	modified time.Time
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{blobs: map[string]body{}} }

// Put implements Store.
func (m *Memory) Put(ctx context.Context, name string, r io.Reader) (int64, error) {
	if err := checkName(name); err != nil {
		return 0, err
	}
	b, err := io.ReadAll(patient{ctx, r})
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blobs[name] = body{b, time.Now()}
	return int64(len(b)), nil
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := checkRange(offset); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, ok := m.blobs[name]
	if !ok {
		return nil, ErrNotFound
	}
	from, n := cut(int64(len(b.bytes)), offset, length)
	return io.NopCloser(bytes.NewReader(b.bytes[from : from+n])), nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.blobs, name)
	return nil
}

// Size implements Store.
func (m *Memory) Size(_ context.Context, name string) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, ok := m.blobs[name]
	if !ok {
		return 0, ErrNotFound
	}
	return int64(len(b.bytes)), nil
}

// List implements Store.
func (m *Memory) List(_ context.Context, after string, limit int) ([]Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var found []Info
	for name, b := range m.blobs {
		if name > after {
			found = append(found, Info{name, int64(len(b.bytes)), b.modified})
		}
	}
	slices.SortFunc(found, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return found[:min(len(found), max(limit, 0))], nil
}
