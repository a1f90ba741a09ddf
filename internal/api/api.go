// Package api lists the services whose shapes lie below it.
package api

import (
	"sync"

	"github.com/sekisho/sekisho/internal/api/cloudformation"
	"github.com/sekisho/sekisho/internal/api/cloudtrail"
	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/api/codepipeline"
	"github.com/sekisho/sekisho/internal/api/events"
	"github.com/sekisho/sekisho/internal/api/iam"
	"github.com/sekisho/sekisho/internal/api/kms"
	"github.com/sekisho/sekisho/internal/api/organizations"
	"github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/api/sts"
	"github.com/sekisho/sekisho/internal/wire"
)

// Services returns every service by name, ready to encode and decode. They
// are made once; nobody may change the map.
var Services = sync.OnceValue(func() map[string]*wire.Service {
	services := map[string]*wire.Service{}
	for _, m := range []*wire.Model{
		cloudformation.Model(), cloudtrail.Model(), codecommit.Model(), codepipeline.Model(), events.Model(),
		iam.Model(), kms.Model(), organizations.Model(), s3.Model(), sts.Model(),
	} {
		services[m.Name] = wire.New(m)
	}
	return services
})

// Check holds an input against the constraints of its operation's model; what
// is in no model has none. The error is an *aws.Error.
func Check(service, operation string, in any) error {
	s, ok := Services()[service]
	if !ok {
		return nil
	}
	op, ok := s.Operation(operation)
	if !ok {
		return nil
	}
	return op.Check(in)
}
