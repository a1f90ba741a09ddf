package state_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/statetest"
)

const crashEnv = "SEKISHO_CRASH_CHILD"

// TestMain makes the test binary a writer that never ends when it is asked to
// be one.
func TestMain(m *testing.M) {
	if url := os.Getenv(crashEnv); url != "" {
		writeForever(url)
	}
	os.Exit(m.Run())
}

// writeForever prints the name of each row once its transaction is
// acknowledged.
func writeForever(url string) {
	ctx := context.Background()
	db, err := state.Open(ctx, url, things())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		update := db.Update
		if w%2 == 1 {
			update = db.UpdateSoon
		}
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				err := update(ctx, func(tx *state.Tx) error {
					if err := insert(ctx, tx, name); err != nil {
						return err
					}
					return insert(ctx, tx, name+"-twin")
				})
				if err != nil {
					fmt.Println("error:", err)
					os.Exit(1)
				}
				os.Stdout.WriteString(name + "\n")
			}
		})
	}
	wg.Wait()
}

// What was acknowledged before kill -9 is there afterwards, what was to be on
// disk soon as well, and nothing is there by half.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	statetest.EachURL(t, func(t *testing.T, url string) {
		acked := map[string]bool{}
		for round := range 4 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), crashEnv+"="+url)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines, killed := bufio.NewScanner(out), false
			for n := 0; lines.Scan(); n++ {
				acked[lines.Text()] = true
				if n == 50+137*round && !killed {
					cmd.Process.Kill()
					killed = true // the rest of the pipe was acknowledged as well
				}
			}
			cmd.Wait()
			if !killed {
				t.Fatalf("the child ended by itself after %v", acked)
			}
		}
		found := map[string]bool{}
		for _, n := range names(t, statetest.Open(t, url, things())) {
			found[n] = true
		}
		for name := range acked {
			if !found[name] || !found[name+"-twin"] {
				t.Errorf("%s was acknowledged and is lost", name)
			}
		}
		if len(found)%2 != 0 {
			t.Errorf("%d rows: half of a transaction", len(found))
		}
	})
}
