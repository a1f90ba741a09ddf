package seal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRotation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "master.key")
	first, err := LoadMaster(file)
	if err != nil {
		t.Fatal(err)
	}
	sealed := first.For("purpose").Seal([]byte("text"), []byte("bound"))
	both, err := BeginRotation(file)
	if err != nil || !both.Changing() {
		t.Fatalf("changing %v, %v", both.Changing(), err)
	}
	again, err := BeginRotation(file)
	if err != nil || !again.key.Equal(both.key.Reveal()) || len(again.older) != 1 {
		t.Errorf("a change that goes on has another key, or %d older ones, %v", len(again.older), err)
	}
	box := again.For("purpose")
	if plain, err := box.Open(sealed, []byte("bound")); string(plain) != "text" || err != nil {
		t.Errorf("the old key opens %q, %v", plain, err)
	}
	for _, wrong := range []*Box{again.For("other"), box} {
		if _, _, err := wrong.Reseal(sealed, []byte("elsewhere")); !errors.Is(err, ErrBroken) {
			t.Errorf("resealed for another purpose or place: %v", err)
		}
	}
	fresh, old, err := box.Reseal(sealed, []byte("bound"))
	if err != nil || !old {
		t.Fatalf("reseal: %v, %v", old, err)
	}
	if same, old, err := box.Reseal(fresh, []byte("bound")); err != nil || old || string(same) != string(fresh) {
		t.Errorf("sealed twice: %v, %v", old, err)
	}
	if err := again.EndRotation(file); err != nil {
		t.Fatal(err)
	}
	last, err := LoadMaster(file)
	if err != nil || last.Changing() {
		t.Fatalf("changing %v, %v", last.Changing(), err)
	}
	if plain, err := last.For("purpose").Open(fresh, []byte("bound")); string(plain) != "text" || err != nil {
		t.Errorf("the new key opens %q, %v", plain, err)
	}
	if _, err := last.For("purpose").Open(sealed, []byte("bound")); !errors.Is(err, ErrBroken) {
		t.Errorf("the old key was not forgotten: %v", err)
	}
}

// Where the environment holds the key, its owner brings the new one.
func TestRotationOfAKeyInTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "master.key")
	LoadMaster(file)
	text, _ := os.ReadFile(file)
	old := strings.TrimSpace(string(text))
	t.Setenv(MasterEnv, old)
	if _, err := BeginRotation(file); !errors.Is(err, ErrMasterInEnv) {
		t.Errorf("one key in the environment: %v", err)
	}
	t.Setenv(MasterEnv, strings.Repeat("A", 43)+"= "+old)
	if m, err := BeginRotation(file); err != nil || !m.Changing() {
		t.Errorf("both keys in the environment: %v", err)
	}
	t.Setenv(MasterEnv, old+" nonsense")
	if _, err := BeginRotation(file); err == nil || strings.Contains(err.Error(), old) {
		t.Errorf("nonsense behind the key: %v", err)
	}
}
