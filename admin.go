package sekisho

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/explain"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/service/events"
)

// The operator's interface: accounts, which no account can create, and
// explanations, which cross accounts. It answers whoever holds the token in
// the data directory, which only the server's own user can read.

// Accounts lists the accounts by name.
func (s *Server) Accounts(ctx context.Context) ([]Account, error) {
	list, err := s.iam.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	accounts := make([]Account, len(list))
	for i, a := range list {
		accounts[i] = Account{Name: a.Name, ID: a.ID}
	}
	return accounts, nil
}

// CreateAccount makes an account, or finds the one of that name, and writes
// its root access key to the credentials file.
func (s *Server) CreateAccount(ctx context.Context, a Account) (Account, error) {
	if err := a.check(); err != nil {
		return Account{}, err
	}
	made, err := s.iam.CreateAccount(ctx, a.Name, a.ID)
	if err != nil {
		return Account{}, err
	}
	return Account{Name: made.Name, ID: made.ID}, s.writeCredentials(ctx)
}

// Explain tells the whole story of a pipeline execution, of a request, or of
// a commit that was pushed, by its id: every call that led to it and that
// followed from it, and what became of the events between them.
func (s *Server) Explain(ctx context.Context, id string) (*explain.Story, error) {
	r, err := s.record(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.Calls, err = s.recorded(ctx, id); err != nil {
		return nil, err
	}
	if len(r.Calls) == 0 {
		return nil, aws.Errorf("NotFound", "no pipeline execution, request or pushed commit %s is recorded", id).WithStatus(http.StatusNotFound)
	}
	if err := s.reach(ctx, &r); err != nil {
		return nil, err
	}
	deliveries, err := s.events.Deliveries(ctx, r.Calls[0].Call.Trace)
	if err != nil {
		return nil, err
	}
	for _, d := range deliveries {
		r.Deliveries = append(r.Deliveries, explain.Delivery{
			Time: d.Created, Event: d.DetailType, Rule: d.RuleARN, Target: d.TargetARN, State: d.State, Error: deliveryError(d),
		})
	}
	story := explain.Tell(r)
	story.Decisions = s.decisions(ctx, r)
	for i := range story.Decisions {
		if err := s.readable(ctx, &story.Decisions[i]); err != nil {
			return nil, err
		}
	}
	return story, s.locate(ctx, story.Repair)
}

// reach finds out what the pipelines of a record's executions read and write.
func (s *Server) reach(ctx context.Context, r *explain.Record) (err error) {
	for _, e := range r.Calls {
		if e.Call.Scope == "" || e.Call.SourceARN == "" || r.Reach[e.Call.Scope] != nil {
			continue
		}
		if r.Reach[e.Call.Scope], err = s.pipelines.Reach(ctx, e.Call.SourceARN); err != nil {
			return err
		}
	}
	return nil
}

func deliveryError(d events.Delivery) string {
	if d.ErrorCode == "" {
		return d.ErrorMessage
	}
	return d.ErrorCode + ": " + d.ErrorMessage
}

// recorded returns the calls of an execution, of the push that brought a
// commit, of a trace, or of the execution or trace that a request belongs to.
func (s *Server) recorded(ctx context.Context, id string) ([]*call.Entry, error) {
	calls, err := s.trail.Story(ctx, id)
	if err != nil || len(calls) > 0 || id == "" {
		return calls, err
	}
	trace, err := s.commit.Trace(ctx, id)
	if err != nil {
		return nil, err
	}
	if trace == "" {
		trace = id
	}
	calls, err = s.trail.Trace(ctx, trace, "")
	if err != nil || len(calls) > 0 {
		return calls, err
	}
	e, err := s.trail.Request(ctx, id)
	switch {
	case err != nil || e == nil:
		return nil, err
	case e.Call.Scope != "":
		return s.trail.Story(ctx, e.Call.Scope)
	}
	return s.trail.Trace(ctx, e.Call.Trace, "")
}

// writeCredentials replaces the credentials file: one profile per account.
func (s *Server) writeCredentials(ctx context.Context) error {
	s.writing.Lock() // an older list must not be written after a newer one
	defer s.writing.Unlock()
	list, err := s.iam.Accounts(ctx)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, a := range list {
		fmt.Fprintf(&b, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n\n", a.Name, a.AccessKeyID, a.Secret.Reveal())
	}
	return replaceFile(filepath.Join(s.config.Data, credentialsFile), b.Bytes())
}

// announce says where the server is, for the commands that look for it.
func (s *Server) announce() error {
	return replaceFile(filepath.Join(s.config.Data, endpointFile), []byte(s.URL()+"\n"))
}

// replaceFile writes a file that only its owner can read, whole or not at all.
// It does not wait for the disk: what it writes is written at every start.
func replaceFile(name string, content []byte) error {
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// patience is how long an operator's request may take to come in.
const patience = 30 * time.Second

// admin returns the handler below /_sekisho/admin/, behind a fresh token.
func (s *Server) admin() (http.Handler, error) {
	b := make([]byte, 32)
	rand.Read(b)
	text := hex.EncodeToString(b)
	if err := replaceFile(filepath.Join(s.config.Data, adminFile), []byte(text+"\n")); err != nil {
		return nil, err
	}
	token := seal.NewSecret([]byte(text))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sekisho/admin/accounts", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.Accounts(r.Context())
		answer(w, list, err)
	})
	mux.HandleFunc("POST /_sekisho/admin/accounts", func(w http.ResponseWriter, r *http.Request) {
		var in Account
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&in); err != nil {
			http.Error(w, "want a JSON object with Name and ID: "+err.Error(), http.StatusBadRequest)
			return
		}
		made, err := s.CreateAccount(r.Context(), in)
		answer(w, made, err)
	})
	mux.HandleFunc("GET /_sekisho/admin/explain/{id}", func(w http.ResponseWriter, r *http.Request) {
		story, err := s.Explain(r.Context(), r.PathValue("id"))
		answer(w, story, err)
	})
	mux.HandleFunc("GET /_sekisho/admin/used", func(w http.ResponseWriter, r *http.Request) {
		from, to, err := period(r.URL.Query(), s.config.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		used, err := s.Used(r.Context(), r.URL.Query().Get("principal"), from, to)
		answer(w, used, err)
	})
	mux.HandleFunc("POST /_sekisho/admin/judge", func(w http.ResponseWriter, r *http.Request) {
		var in explain.Hypothesis
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
			http.Error(w, "want a JSON object with Principal, Action and Resource: "+err.Error(), http.StatusBadRequest)
			return
		}
		decision, err := s.Judge(r.Context(), in)
		answer(w, decision, err)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
		}
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !token.Equal([]byte(given)) || r.TLS == nil {
			http.Error(w, "this is the operator's interface: it wants the token of the data directory, over TLS", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		status := http.StatusInternalServerError
		text := err.Error()
		if e, ok := errors.AsType[*aws.Error](err); ok {
			status, text = http.StatusBadRequest, e.Message
			if e.Status != 0 {
				status = e.Status
			}
		}
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
