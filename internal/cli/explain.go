package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/sekisho/sekisho/internal/explain"
)

func explainCommand() *cobra.Command {
	x := &explaining{}
	c := &cobra.Command{
		Use:   "explain ID | --principal ARN --action ACTION --resource ARN",
		Short: "Tell who did what by whose leave, from a push to its delivery, and why it was refused",
		Long: `Explain tells the whole story of a pipeline execution, of a pushed commit (seven
or more digits of its id will do) or of a request, by its id: the push or call
that began it, the events that carried it, and every call of the pipeline's
actions, each with the role that made it and the statement of the policy that
let it. For a refusal it says which policy to change, and the statement to add.
A push that started nothing is asked for by its commit.

Of a single request it shows the whole decision: what conditions could see, and
what every policy said, in the order of evaluation. With --principal, --action
and --resource it shows the same for a call that nobody has made, as the server
would decide it now:

	sekisho explain --principal arn:aws:iam::111111111111:role/shop-source \
	  --action s3:PutObject --resource arn:aws:s3:::artifacts/shop/x

With --apply it shows what the repair changes in each policy, asks, and puts it
in place with the account's administrator's key; then it decides again.`,
		Args: cobra.MaximumNArgs(1),
	}
	x.data = dataFlag(c)
	f := c.Flags()
	f.BoolVar(&x.asJSON, "json", false, "print JSON for programs")
	f.StringVar(&x.asked.Principal, "principal", "", "who would call: the ARN of a user, role, session or root, or a service")
	f.StringVar(&x.asked.Action, "action", "", "what would be asked for, such as s3:PutObject")
	f.StringVar(&x.asked.Resource, "resource", "", "ARN of what it would be asked on, or *")
	f.StringVar(&x.asked.Owner, "owner", "", "account that owns the resource, where nothing else says")
	f.StringVar(&x.asked.Region, "region", "", "region of the call, where the resource's ARN names none")
	f.StringArrayVar(&x.context, "context", nil, "a condition key the request would have, as KEY=VALUE; several values by repeating it")
	f.BoolVar(&x.apply, "apply", false, "put the repair in place, after showing what it changes")
	f.BoolVar(&x.yes, "yes", false, "with --apply, do not ask")
	f.BoolVar(&x.policies, "policies", false, "with --apply, change policies also where a change of the request would do")
	f.StringVar(&x.profile, "profile", "", "with --apply, whose key of the data directory's credentials file changes policies (default each account's own)")
	c.RunE = func(c *cobra.Command, args []string) error { return x.run(c, args) }
	return c
}

// explaining is one run of the command.
type explaining struct {
	data                         *string
	asJSON, apply, yes, policies bool
	asked                        explain.Hypothesis
	context                      []string
	profile                      string

	admin *admin
	out   io.Writer
	in    io.Reader
}

func (x *explaining) run(c *cobra.Command, args []string) (err error) {
	h := &x.asked
	hypothetical := h.Principal != "" || h.Action != "" || h.Resource != ""
	switch {
	case hypothetical && len(args) > 0:
		return errors.New("ask about an id, or about --principal, --action and --resource")
	case !hypothetical && len(args) == 0:
		return errors.New("name an execution, a commit or a request by its id, or a call by --principal, --action and --resource")
	case hypothetical && (h.Principal == "" || h.Action == "" || h.Resource == ""):
		return errors.New("a call is asked about by all of --principal, --action and --resource")
	case x.apply && x.asJSON:
		return errors.New("--apply and --json do not go together")
	}
	if h.Context, err = keysOf(x.context); err != nil {
		return err
	}
	if x.admin, err = connect(*x.data); err != nil {
		return err
	}
	x.out, x.in = c.OutOrStdout(), c.InOrStdin()
	if hypothetical {
		return x.judge(c.Context())
	}
	return x.story(c.Context(), args[0])
}

// keysOf reads KEY=VALUE pairs.
func keysOf(pairs []string) (map[string][]string, error) {
	keys := map[string][]string{}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--context %s: want KEY=VALUE", p)
		}
		keys[key] = append(keys[key], value)
	}
	return keys, nil
}

// judge shows the decision about a call that nobody has made.
func (x *explaining) judge(ctx context.Context) error {
	var d explain.Decision
	if err := x.admin.post(ctx, "judge", x.asked, &d); err != nil {
		return err
	}
	if x.asJSON {
		return writeIndented(x.out, d)
	}
	writeDecision(x.out, d, x.command())
	if !x.apply || d.Outcome == explain.Allowed {
		return nil
	}
	return x.repair(ctx, d.Fixes, d.Carry, []explain.Hypothesis{x.asked}, x.asked.Region)
}

// command is the one that was given, with --apply; empty when that is under way.
func (x *explaining) command() string {
	if x.apply {
		return ""
	}
	h := x.asked
	words := []string{"sekisho explain", "--principal", h.Principal, "--action", h.Action, "--resource", shellWord(h.Resource)}
	if h.Owner != "" {
		words = append(words, "--owner", h.Owner)
	}
	for _, pair := range x.context {
		words = append(words, "--context", shellWord(pair))
	}
	return strings.Join(append(words, "--apply"), " ")
}

func shellWord(s string) string {
	if strings.ContainsAny(s, " *?$&;|<>()'\"\\[]{}") {
		return shellQuote(s)
	}
	return s
}

// story shows what is recorded under an id: as a table, or for a single request
// each decision.
func (x *explaining) story(ctx context.Context, id string) error {
	var s explain.Story
	if err := x.admin.get(ctx, "explain/"+url.PathEscape(id), &s); err != nil {
		return err
	}
	if x.asJSON {
		return writeIndented(x.out, s)
	}
	if len(s.Steps) > 1 {
		writeStory(x.out, &s)
	}
	again := "sekisho explain " + id + " --apply"
	if x.apply {
		again = ""
	}
	for _, d := range s.Decisions {
		if d.RequestID == id {
			writeDecision(x.out, d, again)
		}
	}
	if len(s.Steps) == 1 && len(s.Decisions) == 0 {
		writeStory(x.out, &s)
	}
	if !x.apply {
		return nil
	}
	var asked []explain.Hypothesis
	var carry []explain.Carry
	for _, d := range s.Decisions {
		if d.Outcome == explain.Refused {
			asked = append(asked, explain.Hypothesis{RequestID: d.RequestID, Action: d.Action, Resource: d.Resource, Owner: d.Owner})
			carry = append(carry, d.Carry...)
		}
	}
	if len(asked) == 0 {
		lipgloss.Fprintln(x.out, "Nothing was refused: there is nothing to repair.")
		return nil
	}
	return x.repair(ctx, s.Repair, carry, asked, s.Steps[0].Region)
}

// repair puts fixes in place, and decides again about what was refused.
func (x *explaining) repair(ctx context.Context, fixes []explain.Fix, carry []explain.Carry, asked []explain.Hypothesis, region string) error {
	if len(carry) > 0 && !x.policies {
		return errors.New("the smaller change is in the request, and no policy was changed: say --policies to change them all the same")
	}
	if len(fixes) == 0 {
		return errors.New("no change of policies is known that would turn it")
	}
	var accounts []struct{ Name, ID string }
	if err := x.admin.get(ctx, "accounts", &accounts); err != nil {
		return err
	}
	if region == "" {
		region = "us-east-1"
	}
	r := &repairer{admin: x.admin, out: x.out, in: x.in, yes: x.yes, profile: x.profile, region: region, names: map[string]string{}}
	for _, a := range accounts {
		r.names[a.ID] = a.Name
	}
	fmt.Fprintln(x.out)
	return r.turn(ctx, fixes, asked)
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
