package iam

import (
	"context"
	"crypto/subtle"
	"fmt"
	"strings"
	"sync"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
	"github.com/sekisho/sekisho/internal/state"
	"github.com/sekisho/sekisho/internal/token"
)

// cache keeps compiled policies and opened keys. What it holds of an account
// carries the account's version at reading, and is good as long as that is the
// account's version: every transaction that changes the account raises it.
//
// On a database of this process alone the version is known without asking:
// outdate is called before a change is acknowledged. On a shared database
// another node may have made the change, and the version is read each time,
// which is one look-up by primary key instead of the dozen that the policies
// take.
type cache struct {
	mu       sync.RWMutex
	versions map[string]int64 // by account: the newest that this node made
	sets     map[string]cachedSet
	keys     map[string]cachedKey
	sessions map[string]openedToken // by access key id
}

type cachedSet struct {
	set     *policy.Set
	arn     string // of the user or role now; empty for a root
	version int64
}

type cachedKey struct {
	secret    seal.Secret
	principal aws.Principal
	version   int64
}

// openedToken is a session token with what was in it, which never changes.
type openedToken struct {
	text    string
	session token.Session
}

// maxOpened bounds the opened tokens, which are larger than the rest.
const maxOpened = 1000

// maxCached bounds each map; beyond it the cache begins anew.
const maxCached = 10_000

func (c *cache) outdate(account string, version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.versions == nil {
		c.versions = map[string]int64{}
	}
	c.versions[account] = max(c.versions[account], version)
}

func (c *cache) version(account string) int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.versions[account]
}

func (c *cache) set(id string) (cachedSet, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.sets[id]
	return s, ok
}

func (c *cache) putSet(id string, s cachedSet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sets == nil || len(c.sets) >= maxCached {
		c.sets = map[string]cachedSet{}
	}
	c.sets[id] = s
}

func (c *cache) key(id string) (cachedKey, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.keys[id]
	return k, ok
}

func (c *cache) putKey(id string, k cachedKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxCached {
		c.keys = map[string]cachedKey{}
	}
	c.keys[id] = k
}

// opened returns a session whose very token was opened before.
func (c *cache) opened(keyID, text string) (token.Session, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	o, ok := c.sessions[keyID]
	return o.session, ok && subtle.ConstantTimeCompare([]byte(o.text), []byte(text)) == 1
}

func (c *cache) putOpened(keyID, text string, s token.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil || len(c.sessions) >= maxOpened {
		c.sessions = map[string]openedToken{}
	}
	c.sessions[keyID] = openedToken{text, s}
}

// fresh reports whether what was read at a version of an account still holds.
func (s *Service) fresh(ctx context.Context, account string, version int64) bool {
	if !s.db.Shared() {
		return s.cache.version(account) <= version
	}
	var now int64
	err := s.db.View(ctx, func(tx *state.Tx) error {
		var err error
		now, err = state.Get[int64](ctx, tx, `SELECT version FROM iam_account WHERE id = $1`, account)
		return err
	})
	return err == nil && now == version
}

var noPolicies = &policy.Set{}

// For returns the policies that speak for a caller. For a user or role that is
// gone it returns InvalidClientTokenId, also when another of its name has come:
// sessions go by the unique id. To have no policies would not do, since the
// resource's own policy may speak for the name.
func (s *Service) For(ctx context.Context, p aws.Principal) (*policy.Set, error) {
	c, err := s.speaking(ctx, p)
	return c.set, err
}

// speaking is For, with the ARN that the user or role has now.
func (s *Service) speaking(ctx context.Context, p aws.Principal) (cachedSet, error) {
	id, _, _ := strings.Cut(p.ID, ":")
	switch p.Kind {
	case aws.User, aws.Session:
	case aws.Federated:
		id = p.ParentID
	default:
		return cachedSet{set: noPolicies}, nil
	}
	if id == "" { // a web identity, of which its provider alone knows
		return cachedSet{set: noPolicies}, nil
	}
	key := id
	if narrowed(p) {
		key += "\x00" + strings.Join(p.SessionPolicies, "\x00") + "\x01" + strings.Join(p.SessionPolicyARNs, "\x00")
	}
	if c, ok := s.cache.set(key); ok && s.fresh(ctx, p.Account, c.version) {
		return c, nil
	}
	c, err := s.load(ctx, p, id)
	if err == nil {
		s.cache.putSet(key, c)
	}
	return c, err
}

// narrowed reports whether session policies bind a principal. A federated user
// has nothing but what they allow, and so nothing when there are none.
func narrowed(p aws.Principal) bool {
	return p.Kind == aws.Federated || len(p.SessionPolicies)+len(p.SessionPolicyARNs) > 0
}

// load reads and compiles the policies that speak for a caller.
func (s *Service) load(ctx context.Context, p aws.Principal, id string) (cachedSet, error) {
	var out cachedSet
	err := s.db.View(ctx, func(tx *state.Tx) error {
		version, err := state.Get[int64](ctx, tx, `SELECT version FROM iam_account WHERE id = $1`, p.Account)
		if err != nil {
			return orInvalidKey(err)
		}
		out = cachedSet{set: &policy.Set{Narrowed: narrowed(p)}, version: version}
		if id == p.Account {
			out.set.Identity = rootPolicies(p)
		} else if out.arn, err = loadEntity(ctx, tx, p.Account, id, out.set); err != nil {
			return err
		}
		out.set.Session, err = sessionPolicies(ctx, tx, p)
		return err
	})
	return out, err
}

// loadEntity reads the policies and the boundary of a user or role, and returns
// its ARN.
func loadEntity(ctx context.Context, tx *state.Tx, account, id string, set *policy.Set) (arn string, err error) {
	e, err := state.Get[entity](ctx, tx, findEntityByID, id)
	if err != nil {
		return "", orInvalidKey(err)
	}
	if e.Account != account {
		return "", errInvalidKey()
	}
	if set.Identity, err = identityPolicies(ctx, tx, e); err != nil || e.Boundary == "" {
		return e.arn(), err
	}
	set.Boundary, err = managedSource(ctx, tx, e.Account, e.Boundary, policy.Boundary, e.arn())
	return e.arn(), err
}

// everything is what root may do: the federated users that root makes have it
// as the policy that theirs narrow.
var everything = func() *policy.Document {
	doc, err := stored(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, policy.Identity, "of root")
	if err != nil {
		panic(err) // of our own text
	}
	return doc
}()

func rootPolicies(p aws.Principal) []policy.Source {
	return []policy.Source{{Kind: policy.Identity, Name: "the account's root user", On: p.ParentARN, Doc: everything, Fixed: true}}
}

// identityPolicies are an entity's own policies and, for a user, those of its
// groups.
func identityPolicies(ctx context.Context, tx *state.Tx, e entity) ([]policy.Source, error) {
	list, err := policiesOf(ctx, tx, e)
	if err != nil || kind(e.Kind) != user {
		return list, err
	}
	groups, err := state.List[entity](ctx, tx, listGroupsOf, e.ID, "", maxGroups)
	for _, g := range groups {
		more, err := policiesOf(ctx, tx, g)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, err
}

// policiesOf are the inline and attached policies of one entity.
func policiesOf(ctx context.Context, tx *state.Tx, e entity) ([]policy.Source, error) {
	inlines, err := state.List[inline](ctx, tx, listInline, e.ID)
	if err != nil {
		return nil, err
	}
	var list []policy.Source
	for _, p := range inlines {
		doc, err := stored(p.Document, policy.Identity, p.Name)
		if err != nil {
			return nil, err
		}
		list = append(list, policy.Source{Kind: policy.Identity, Name: p.Name, On: e.arn(), Doc: doc})
	}
	attached, err := state.List[attachment](ctx, tx, listAttachments, e.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range attached {
		more, err := managedSource(ctx, tx, e.Account, a.ARN, policy.Identity, e.arn())
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// managedSource is the default version of a managed policy. One that is gone
// leaves an empty document: a boundary without a policy allows nothing.
func managedSource(ctx context.Context, tx *state.Tx, account, arn string, k policy.Kind, on string) ([]policy.Source, error) {
	source := policy.Source{Kind: k, Name: arn, On: on}
	p, err := findPolicy(ctx, tx, account, arn)
	if isNoSuch(err) {
		return []policy.Source{source}, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := p.version(ctx, tx, 0)
	if err != nil {
		return nil, fmt.Errorf("default version of %s: %w", arn, err)
	}
	source.Doc, err = stored(v.Document, k, arn)
	return []policy.Source{source}, err
}

// sessionPolicies are those that were passed when a session was made.
func sessionPolicies(ctx context.Context, tx *state.Tx, p aws.Principal) ([]policy.Source, error) {
	var list []policy.Source
	for _, text := range p.SessionPolicies {
		doc, err := stored(text, policy.Session, "session policy")
		if err != nil {
			return nil, err
		}
		list = append(list, policy.Source{Kind: policy.Session, Name: "session policy", On: p.ARN, Doc: doc})
	}
	for _, arn := range p.SessionPolicyARNs {
		more, err := managedSource(ctx, tx, p.Account, arn, policy.Session, p.ARN)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	return list, nil
}

// stored parses a document that was checked when it was saved.
func stored(text string, k policy.Kind, name string) (*policy.Document, error) {
	doc, err := policy.Parse(text, k)
	if err != nil {
		return nil, fmt.Errorf("stored policy %s: %w", name, err)
	}
	return doc, nil
}
