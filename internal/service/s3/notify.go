package s3

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/state"
)

func (s *Service) getBucketNotificationConfiguration(ctx context.Context, c *call.Call, in *api.GetBucketNotificationConfigurationInput) (*api.GetBucketNotificationConfigurationOutput, error) {
	_, cfg, err := s.configuration(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	out := &api.GetBucketNotificationConfigurationOutput{}
	if cfg.EventBridge {
		out.EventBridgeConfiguration = &api.EventBridgeConfiguration{}
	}
	return out, nil
}

// putBucketNotificationConfiguration turns the events of a bucket on or off.
// EventBridge is where they can go; queues, topics and functions are refused.
func (s *Service) putBucketNotificationConfiguration(ctx context.Context, c *call.Call, in *api.PutBucketNotificationConfigurationInput) (*api.PutBucketNotificationConfigurationOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	n := in.NotificationConfiguration
	if n == nil {
		return nil, errMalformedXML()
	}
	for _, other := range []struct {
		what  string
		count int
	}{
		{"an SNS topic", len(n.TopicConfigurations)},
		{"an SQS queue", len(n.QueueConfigurations)},
		{"a Lambda function", len(n.LambdaFunctionConfigurations)},
	} {
		if other.count > 0 {
			return nil, errNotImplemented("Notifications to " + other.what + " are not implemented. EventBridge takes a bucket's events, and its rules carry them on.")
		}
	}
	err := s.configure(ctx, in.Bucket, func(_ *bucket, cfg *config) error {
		cfg.EventBridge = n.EventBridgeConfiguration != nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketNotificationConfigurationOutput{}, nil
}

// Types of events, as EventBridge names them.
const (
	objectCreated     = "Object Created"
	objectDeleted     = "Object Deleted"
	objectTagsAdded   = "Object Tags Added"
	objectTagsDeleted = "Object Tags Deleted"
	objectACLUpdated  = "Object ACL Updated"
)

// How an object was deleted, in an event's words.
const (
	deletedForGood  = "Permanently Deleted"
	deletedByMarker = "Delete Marker Created"
)

// objectEvent is the detail of an event of S3. AWS leaves out what does not
// apply.
type objectEvent struct {
	Version   string      `json:"version"`
	Bucket    eventBucket `json:"bucket"`
	Object    eventObject `json:"object"`
	RequestID string      `json:"request-id"`
	Requester string      `json:"requester"`
	SourceIP  string      `json:"source-ip-address,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Deletion  string      `json:"deletion-type,omitempty"`
}

type eventBucket struct {
	Name string `json:"name"`
}

type eventObject struct {
	Key       string `json:"key"`
	Size      *int64 `json:"size,omitempty"`
	ETag      string `json:"etag,omitempty"`
	Version   string `json:"version-id,omitempty"`
	Sequencer string `json:"sequencer,omitempty"`
}

// cause is who or what made an event come about.
type cause struct {
	id, requester, ip, reason, trace string
	at                               time.Time
}

// because is the cause of an event that a call brings about.
func because(c *call.Call, reason string) cause {
	k := cause{id: c.ID, requester: c.Account(), ip: c.SourceIP, reason: reason, trace: c.Trace, at: c.Time}
	switch c.Principal.Kind {
	case aws.Service:
		k.requester, k.ip = c.Principal.ARN, ""
	case aws.Anonymous:
		k.requester = "anonymous"
	}
	return k
}

// created tells of an object that a request made.
func (s *Service) created(ctx context.Context, tx *state.Tx, c *call.Call, b *bucket, o *object) error {
	reason := c.Operation
	if reason == "PostObject" {
		reason = "POST Object"
	}
	e := eventObject{Key: o.Key, Size: &o.Size, ETag: o.ETag, Version: shownVersion(b, o), Sequencer: sequencer(s.now())}
	return emit(ctx, tx, b, objectCreated, because(c, reason), e, "")
}

// tagged tells that a version's tags or its access control list were replaced,
// or removed.
func (s *Service) tagged(ctx context.Context, tx *state.Tx, c *call.Call, b *bucket, o *object, kind string) error {
	e := eventObject{Key: o.Key, ETag: o.ETag, Version: shownVersion(b, o)}
	return emit(ctx, tx, b, kind, because(c, ""), e, "")
}

// deleted tells what became of a deletion; one that found nothing to delete
// is no event.
func (s *Service) deleted(ctx context.Context, tx *state.Tx, b *bucket, why cause, key string, r deleted) error {
	if r.made {
		e := eventObject{Key: key, Version: r.version, Sequencer: sequencer(s.now())}
		return emit(ctx, tx, b, objectDeleted, why, e, deletedByMarker)
	}
	if r.gone == nil {
		return nil
	}
	e := eventObject{Key: key, ETag: r.gone.ETag, Version: shownVersion(b, r.gone), Sequencer: sequencer(s.now())}
	return emit(ctx, tx, b, objectDeleted, why, e, deletedForGood)
}

// emit puts an event into the outbox, where the bucket sends any: the event
// and what it tells of commit together.
func emit(ctx context.Context, tx *state.Tx, b *bucket, kind string, why cause, o eventObject, deletion string) error {
	if b.Config == "" {
		return nil
	}
	cfg, err := b.config()
	if err != nil || !cfg.EventBridge {
		return err
	}
	return tx.Emit(ctx, aws.Event{
		Account: b.Account, Region: b.Region, Source: "aws.s3", DetailType: kind, Time: why.at.UTC(),
		Resources: []string{bucketARN(b.Name)}, Trace: why.trace,
		Detail: []byte(encode(objectEvent{
			Version: "0", Bucket: eventBucket{b.Name}, Object: o,
			RequestID: why.id, Requester: why.requester, SourceIP: why.ip, Reason: why.reason, Deletion: deletion,
		})),
	})
}

var lastSequencer atomic.Int64

// sequencer orders the events of a key: the text of a later one is greater.
func sequencer(now time.Time) string {
	for {
		last, next := lastSequencer.Load(), now.UnixNano()
		if next <= last {
			next = last + 1
		}
		if lastSequencer.CompareAndSwap(last, next) {
			return strings.ToUpper(fmt.Sprintf("%08x%08x", next/1e9, next%1e9))
		}
	}
}
