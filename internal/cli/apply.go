package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"

	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/client"
	"github.com/sekisho/sekisho/internal/explain"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/seal"
)

// repairer puts repairs in place through the API, as each account's
// administrator.
type repairer struct {
	admin   *admin
	out     io.Writer
	in      io.Reader
	yes     bool
	profile string // of the credentials file; empty means the account's own
	region  string
	names   map[string]string // of accounts, by id
}

// repair is one document and what is done to it.
type repair struct {
	*document
	where         string
	before, after string
	stack         string // that made what the document stands on; empty for none
}

// apply shows what repairs do to each document, asks, and does it. It reports
// whether it did.
func (r *repairer) apply(ctx context.Context, fixes []explain.Fix) (bool, error) {
	var list []repair
	for _, group := range byDocument(fixes) {
		one, err := r.plan(ctx, group)
		if err != nil {
			return false, fmt.Errorf("%s: %w", group[0].Where, err)
		}
		list = append(list, one)
		r.show(one)
	}
	if ok, err := r.agreed(len(list)); !ok {
		return false, err
	}
	for _, one := range list {
		if err := one.store(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", one.where, err)
		}
		lipgloss.Fprintln(r.out, good.Render("put in place: ")+one.where)
	}
	return true, nil
}

// byDocument groups fixes by the document they change, in order.
func byDocument(fixes []explain.Fix) [][]explain.Fix {
	var groups [][]explain.Fix
	for _, f := range fixes {
		i := slices.IndexFunc(groups, func(g []explain.Fix) bool {
			return g[0].Kind == f.Kind && g[0].On == f.On && g[0].Policy == f.Policy
		})
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

// plan reads a document and works out what it becomes.
func (r *repairer) plan(ctx context.Context, fixes []explain.Fix) (repair, error) {
	one := repair{where: strings.Replace(fixes[0].Where, "a policy on ", "policy "+repairName+" on ", 1)}
	for _, f := range fixes {
		if f.Advice != "" {
			return one, errors.New(f.Advice)
		}
	}
	c, err := r.client(fixes[0])
	if err != nil {
		return one, err
	}
	if one.document, err = documentOf(fixes[0], c); err != nil {
		return one, err
	}
	if one.before, err = one.get(ctx); err != nil {
		return one, err
	}
	var doc *policy.Document
	if one.before != "" {
		if doc, err = policy.Parse(one.before, one.kind); err != nil {
			return one, err
		}
	}
	var changes []policy.Change
	for _, f := range fixes {
		if f.Remove == nil {
			changes = append(changes, policy.Change{Add: f.Add})
			continue
		}
		if f.Was != nil && !sameJSON(f.Was, doc.Statement(f.Remove.Statement)) {
			return one, errors.New("the policy has changed since: ask again with sekisho explain --principal, --action and --resource")
		}
		changes = append(changes, policy.Change{Statement: f.Remove.Statement, Instead: f.Instead})
	}
	one.after = policy.Rewrite(doc, changes...)
	if one.after == "" && one.drop == nil {
		return one, errors.New("nothing would be left of the policy, and it cannot be without a statement")
	}
	one.stack = r.stack(ctx, c, one.physical)
	return one, nil
}

// sameJSON compares statements without regard to space: unique ids that stand
// for names are left to the server.
func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// client calls as the administrator of the account a fix is about.
func (r *repairer) client(f explain.Fix) (*client.Client, error) {
	name := r.profile
	if name == "" {
		if name = r.names[f.Account]; name == "" {
			return nil, fmt.Errorf("account %q is not one of this server's: name a profile that may change it with --profile", f.Account)
		}
	}
	keys, err := readProfile(r.admin.credentialsFile(), name)
	if err != nil {
		return nil, err
	}
	region := r.region
	if a, ok := aws.ParseARN(f.On); ok && a.Region != "" {
		region = a.Region
	}
	return client.New(r.admin.endpoint, region, client.Credentials{AccessKeyID: keys.keyID, Secret: seal.NewSecret([]byte(keys.secret))}, r.admin.pool), nil
}

// stack names the stack that made something, and what its template calls it.
func (r *repairer) stack(ctx context.Context, c *client.Client, physical string) string {
	out, err := cloudformation.Client{Invoker: c}.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{PhysicalResourceId: physical})
	if err != nil {
		return "" // no stack knows it
	}
	for _, s := range out.StackResources {
		if s.PhysicalResourceId == physical {
			return s.LogicalResourceId + " of stack " + s.StackName
		}
	}
	return ""
}

func (r *repairer) show(one repair) {
	for i, line := range linesOf(unified(one.where, pretty(one.before), pretty(one.after))) {
		switch {
		case i < 2:
			line = strong.Render(line)
		case strings.HasPrefix(line, "+"):
			line = good.Render(line)
		case strings.HasPrefix(line, "-"):
			line = bad.Render(line)
		case strings.HasPrefix(line, "@@"):
			line = name.Render(line)
		}
		lipgloss.Fprintln(r.out, line)
	}
	if one.stack != "" {
		lipgloss.Fprintln(r.out, bad.Render("mind: ")+"it stands on "+one.stack+": change the template, too, or its next update takes this back")
	}
	fmt.Fprintln(r.out)
}

func pretty(text string) string {
	if text == "" {
		return ""
	}
	return policy.Pretty(text)
}

// agreed asks whoever sits at the terminal.
func (r *repairer) agreed(n int) (bool, error) {
	if r.yes {
		return true, nil
	}
	f, ok := r.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, errors.New("nobody can be asked here: say --yes to put it in place")
	}
	what := "this"
	if n > 1 {
		what = fmt.Sprintf("these %d changes", n)
	}
	fmt.Fprintf(r.out, "Put %s in place? [y/N] ", what)
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		fmt.Fprintln(r.out, "Nothing was changed.")
		return false, nil
	}
	return true, nil
}

func (one repair) store(ctx context.Context) error {
	if one.after == "" {
		return one.drop(ctx)
	}
	return one.put(ctx, one.after)
}

// turn puts fixes in place and decides again about what was refused. What is
// still refused then has a repair of its own, which a first one hid.
func (r *repairer) turn(ctx context.Context, fixes []explain.Fix, asked []explain.Hypothesis) error {
	for range maxRounds {
		done, err := r.apply(ctx, fixes)
		if err != nil || !done {
			return err
		}
		if fixes, err = r.verify(ctx, asked); err != nil || len(fixes) == 0 {
			return err
		}
		lipgloss.Fprintln(r.out, strong.Render("that uncovered more:"))
	}
	return errors.New("it is still refused, after all repairs")
}

// maxRounds bounds how often repairs uncover more.
const maxRounds = 6

// verify judges again what was refused, and says what it comes to now. It
// returns the repair of the first one that is still refused.
func (r *repairer) verify(ctx context.Context, asked []explain.Hypothesis) (more []explain.Fix, err error) {
	left := 0
	for _, h := range asked {
		var d explain.Decision
		if err := r.admin.post(ctx, "judge", h, &d); err != nil {
			return nil, err
		}
		if d.Outcome == explain.Allowed {
			lipgloss.Fprintln(r.out, good.Render("✓ ")+d.Action+" on "+d.What+" would pass now")
			continue
		}
		left++
		lipgloss.Fprintln(r.out, bad.Render("✗ ")+d.Action+" on "+d.What+" would still be refused")
		if len(more) == 0 {
			more = d.Fixes
		}
	}
	if left > 0 && len(more) == 0 {
		return nil, fmt.Errorf("%d of %d would still be refused", left, len(asked))
	}
	return more, nil
}
