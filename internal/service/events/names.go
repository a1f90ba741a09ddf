package events

import (
	"encoding/base64"
	"strings"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

const defaultBus = "default"

// busRef names a bus.
type busRef struct{ account, region, name string }

func (b busRef) arn() string {
	return aws.NewARN("events", b.region, b.account, "event-bus/"+b.name)
}

// rules is the ARN that stands for the rules of the bus's account and region.
func (b busRef) rules() string { return aws.NewARN("events", b.region, b.account, "rule/*") }

// ruleRef names a rule.
type ruleRef struct {
	bus  busRef
	name string
}

func (r ruleRef) arn() string {
	resource := "rule/" + r.name
	if r.bus.name != defaultBus {
		resource = "rule/" + r.bus.name + "/" + r.name
	}
	return aws.NewARN("events", r.bus.region, r.bus.account, resource)
}

// args are the columns that every table keyed by rules begins with.
func (r ruleRef) args(more ...any) []any {
	return append([]any{r.bus.account, r.bus.region, r.bus.name, r.name}, more...)
}

// busOf returns the bus that a name or ARN means to a caller; empty means the
// default one.
func busOf(c *call.Call, nameOrARN string) (busRef, error) {
	if nameOrARN == "" {
		nameOrARN = defaultBus
	}
	if !strings.HasPrefix(nameOrARN, "arn:") {
		return busRef{c.Account(), c.Region, nameOrARN}, nil
	}
	if b, ok := busFromARN(nameOrARN); ok {
		return b, nil
	}
	return busRef{}, invalid("Parameter EventBusName is not valid. Reason: Provided Arn is not in correct format.")
}

func busFromARN(text string) (busRef, bool) {
	a, ok := aws.ParseARN(text)
	name, isBus := strings.CutPrefix(a.Resource, "event-bus/")
	if !ok || a.Service != "events" || !isBus || name == "" || !aws.IsAccountID(a.Account) || !aws.IsRegion(a.Region) {
		return busRef{}, false
	}
	return busRef{a.Account, a.Region, name}, true
}

// ruleFromARN takes a rule's ARN apart. A bus's name may hold no slash, so
// the last one separates.
func ruleFromARN(text string) (ruleRef, bool) {
	a, ok := aws.ParseARN(text)
	rest, isRule := strings.CutPrefix(a.Resource, "rule/")
	if !ok || a.Service != "events" || !isRule {
		return ruleRef{}, false
	}
	r := ruleRef{busRef{a.Account, a.Region, defaultBus}, rest}
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		r.bus.name, r.name = rest[:i], rest[i+1:]
	}
	return r, r.name != ""
}

// ruleOf returns the rule a caller names.
func ruleOf(c *call.Call, bus, name string) (ruleRef, error) {
	b, err := busOf(c, bus)
	return ruleRef{b, name}, err
}

func invalid(format string, args ...any) *aws.Error {
	return aws.Errorf("ValidationException", format, args...)
}

func notFound(format string, args ...any) *aws.Error {
	return aws.Errorf("ResourceNotFoundException", format, args...)
}

// notImplemented refuses what AWS has and sekisho does not, by name.
func notImplemented(what string) *aws.Error {
	return aws.Errorf("NotImplemented", "%s is not implemented by sekisho.", what).WithStatus(501)
}

func noBus(name string) *aws.Error { return notFound("Event bus %s does not exist.", name) }

func noRule(r ruleRef) *aws.Error {
	return notFound("Rule %s does not exist on EventBus %s.", r.name, r.bus.name)
}

var errLimit = aws.Errorf("LimitExceededException", "The requested resource exceeds the maximum number allowed.")

// page is a request for a part of a list.
type page struct {
	after string
	limit int64
}

// pageOf reads a token, which is the last name of the page before.
func pageOf(token string, limit *int64) (page, error) {
	after, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return page{}, invalid("Parameter NextToken is not valid.")
	}
	p := page{string(after), 100}
	if limit != nil && *limit > 0 {
		p.limit = min(*limit, 100)
	}
	return p, nil
}

// cut returns the page's part of a list that was read with one element more
// than the limit, and the token for the next one.
func cut[T any](p page, list []T, name func(T) string) ([]T, string) {
	if int64(len(list)) <= p.limit {
		return list, ""
	}
	list = list[:p.limit]
	return list, base64.RawURLEncoding.EncodeToString([]byte(name(list[len(list)-1])))
}

// prefixEnd is the first text after all that begin with prefix.
func prefixEnd(prefix string) string { return prefix + "\U0010ffff" }
