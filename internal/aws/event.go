package aws

import (
	"encoding/json"
	"time"
)

// Event is one event on its way to an event bus, in EventBridge's terms.
type Event struct {
	ID         string
	Account    string
	Region     string
	Source     string
	DetailType string
	Time       time.Time
	Resources  []string
	Detail     json.RawMessage
	// Bus is the ARN of the bus the event is put on; empty means the default
	// bus of Account in Region.
	Bus string `json:",omitempty"`
	// Hops counts the buses an event has crossed: AWS forwards once.
	Hops int `json:",omitempty"`
	// Trace is the call.Call's Trace from which the event came. It never
	// leaves sekisho.
	Trace string `json:",omitempty"`
}

// MarshalEnvelope returns the event as EventBridge delivers it. Time has
// whole seconds, as on AWS.
func (e Event) MarshalEnvelope() ([]byte, error) {
	resources := e.Resources
	if resources == nil {
		resources = []string{}
	}
	return json.Marshal(struct {
		Version    string          `json:"version"`
		ID         string          `json:"id"`
		DetailType string          `json:"detail-type"`
		Source     string          `json:"source"`
		Account    string          `json:"account"`
		Time       string          `json:"time"`
		Region     string          `json:"region"`
		Resources  []string        `json:"resources"`
		Detail     json.RawMessage `json:"detail"`
	}{"0", e.ID, e.DetailType, e.Source, e.Account, e.Time.UTC().Format("2006-01-02T15:04:05Z"), e.Region, resources, e.Detail})
}
