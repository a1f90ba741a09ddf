package cloudtrail

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"

	api "github.com/sekisho/sekisho/internal/api/cloudtrail"
)

// maxResults is how many events a page holds at most, and by default.
const maxResults = 50

func (s *Service) lookupEventsNeeds(context.Context, *call.Call, *api.LookupEventsInput) ([]call.Need, error) {
	return []call.Need{{Action: "cloudtrail:LookupEvents", Resource: "*"}}, nil
}

// lookupEvents returns the management events of the caller's account and
// region, newest first.
func (s *Service) lookupEvents(ctx context.Context, c *call.Call, in *api.LookupEventsInput) (*api.LookupEventsOutput, error) {
	q, err := s.query(c, in)
	if err != nil {
		return nil, err
	}
	out := &api.LookupEventsOutput{Events: []api.Event{}}
	if in.EventCategory != "" {
		return out, nil // Insights events: no trail has Insights enabled
	}
	var rows []row
	err = s.db.View(ctx, func(tx *state.Tx) (err error) {
		rows, err = state.List[row](ctx, tx, q.sql(), q.args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(rows) > q.limit {
		rows = rows[:q.limit]
		out.NextToken = q.token(rows[len(rows)-1].ID)
	}
	for _, r := range rows {
		e, err := r.unpack()
		if err != nil {
			return nil, err
		}
		found, err := foundEvent(r.ID, e, c.Account())
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, found)
	}
	return out, nil
}

func foundEvent(id string, e *call.Entry, account string) (api.Event, error) {
	shape := newEvent(id, e, account)
	text, err := json.Marshal(shape)
	if err != nil {
		return api.Event{}, fmt.Errorf("record %s: %w", id, err)
	}
	out := api.Event{
		EventId: id, EventName: shape.EventName, ReadOnly: strconv.FormatBool(e.ReadOnly), AccessKeyId: shape.UserIdentity.AccessKeyID,
		EventTime: new(e.Call.Time.Truncate(time.Second)), EventSource: shape.EventSource, Username: username(e.Call.Principal),
		Resources: []api.Resource{}, CloudTrailEvent: string(text),
	}
	for _, arn := range e.Resources {
		r := resourceOf(arn)
		out.Resources = append(out.Resources, api.Resource{ResourceType: r.kind, ResourceName: r.name})
	}
	return out, nil
}

// query is a lookup on its way to SQL.
type query struct {
	limit  int
	filter string // what every row has to fulfil, beside account and region
	args   []any
	sum    string // of the parameters: a token goes with the ones it was made for
}

// sql looks in the account's own history and in what others did to its
// resources. Both are read from an index, newest first, until the page is
// full.
func (q *query) sql() string {
	const half = `SELECT ` + rowColumns + ` FROM cloudtrail_event WHERE management = 1 AND region = $2 AND id >= $3 AND id < $4`
	return half + ` AND account = $1` + q.filter + ` UNION ALL ` + half + ` AND owner = $1 AND owner <> ''` + q.filter + ` ORDER BY id DESC LIMIT $5`
}

func (s *Service) query(c *call.Call, in *api.LookupEventsInput) (*query, error) {
	q := &query{limit: maxResults, sum: checksum(in)}
	if in.MaxResults != nil {
		if *in.MaxResults < 1 || *in.MaxResults > maxResults {
			return nil, aws.Errorf("InvalidMaxResultsException", "MaxResults must be between 1 and %d.", maxResults)
		}
		q.limit = int(*in.MaxResults)
	}
	from, to, err := s.span(in)
	if err != nil {
		return nil, err
	}
	if in.NextToken != "" {
		if to, err = q.resume(in.NextToken); err != nil {
			return nil, err
		}
	}
	q.args = []any{c.Account(), c.Region, from, to, q.limit + 1}
	return q, q.where(in.LookupAttributes)
}

// span are the bounds of the ids that are looked up: EndTime's whole second
// is in.
func (s *Service) span(in *api.LookupEventsInput) (from, to string, err error) {
	start, end := s.now().Add(-retention), s.now().Add(time.Hour)
	if in.StartTime != nil && in.StartTime.After(start) {
		start = *in.StartTime
	}
	if in.EndTime != nil {
		end = in.EndTime.Truncate(time.Second).Add(time.Second)
		if in.StartTime != nil && in.StartTime.After(*in.EndTime) {
			return "", "", aws.Errorf("InvalidTimeRangeException", "Start time cannot be after end time.")
		}
	}
	return firstID(start), firstID(end), nil
}

// where adds the condition of a lookup attribute.
func (q *query) where(attributes []api.LookupAttribute) error {
	if len(attributes) == 0 {
		return nil
	}
	if len(attributes) > 1 {
		return aws.Errorf("InvalidLookupAttributesException", "Only one lookup attribute can be specified.")
	}
	var value any = attributes[0].AttributeValue
	column := ""
	switch key := attributes[0].AttributeKey; key {
	case "EventId":
		column = "id"
	case "EventName":
		column = "name"
	case "Username":
		column = "username"
	case "AccessKeyId":
		column = "access_key"
	case "EventSource":
		service, ok := strings.CutSuffix(attributes[0].AttributeValue, ".amazonaws.com")
		if !ok {
			service = "" // no service has no name
		}
		column, value = "source", service
	case "ReadOnly":
		only, err := strconv.ParseBool(attributes[0].AttributeValue)
		if err != nil {
			return aws.Errorf("InvalidLookupAttributesException", "The value of ReadOnly must be true or false.")
		}
		column, value = "read_only", only
	case "ResourceName", "ResourceType":
		q.filter = ` AND replace(resources, $6, '') <> resources` // LIKE would ignore case on SQLite
		q.args = append(q.args, "\n"+attributes[0].AttributeValue+"\n")
		return nil
	default:
		return aws.Errorf("InvalidLookupAttributesException", "%s is no lookup attribute.", key)
	}
	q.filter = " AND " + column + " = $6"
	q.args = append(q.args, value)
	return nil
}

// checksum stands for the parameters of a lookup but the page.
func checksum(in *api.LookupEventsInput) string {
	h := sha256.New()
	for _, t := range []*time.Time{in.StartTime, in.EndTime} {
		if t != nil {
			fmt.Fprint(h, t.UnixNano())
		}
		fmt.Fprint(h, ";")
	}
	for _, a := range in.LookupAttributes {
		fmt.Fprintf(h, "%q=%q;", a.AttributeKey, a.AttributeValue)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// token names the place behind an event.
func (q *query) token(id string) string {
	return base64.StdEncoding.EncodeToString([]byte(q.sum + id))
}

// resume returns the id that a token names.
func (q *query) resume(token string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(token)
	id, ok := strings.CutPrefix(string(text), q.sum)
	if err != nil || !ok || len(id) != len(firstID(time.Time{})) {
		return "", aws.Errorf("InvalidNextTokenException", "The NextToken is invalid, or does not go with the other parameters of the request.")
	}
	return id, nil
}
