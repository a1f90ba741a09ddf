package s3

import (
	"context"
	"strings"

	"github.com/sekisho/sekisho/internal/call"
)

// NeedOn returns what an action on a bucket or an object would ask for, with
// the bucket's owner and policy and the tags of an object that exists.
func (s *Service) NeedOn(ctx context.Context, c *call.Call, action, resource string) (call.Need, error) {
	name, ok := strings.CutPrefix(resource, allBuckets[:len(allBuckets)-1])
	if !ok || name == "" || name == "*" {
		return call.Need{Action: action, Resource: resource, Refuse: refuse}, nil
	}
	bucket, key, isObject := strings.Cut(name, "/")
	t, err := s.anywhere(ctx, c, bucket, "")
	if err != nil {
		return call.Need{}, err
	}
	if !isObject {
		return t.on(action, nil), nil
	}
	return s.stored(ctx, t, action, key, "")
}
