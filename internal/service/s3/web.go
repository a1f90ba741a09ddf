package s3

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

// Web returns what a bucket shows to browsers: its CORS rules, and its website,
// nil when it is none. exists is false where there is no such bucket. It asks for no permission: whoever reads an object
// is judged then.
func (s *Service) Web(ctx context.Context, name string) (rules []api.CORSRule, site *api.WebsiteConfiguration, exists bool, err error) {
	_, cfg, err := s.configuration(ctx, name)
	if e, ok := errors.AsType[*aws.Error](err); ok && e.Code == "NoSuchBucket" {
		return nil, nil, false, nil
	}
	if err != nil {
		return nil, nil, false, err
	}
	return cfg.CORS, cfg.Website, true, nil
}

const maxCORSRules = 100

func (s *Service) getBucketCors(ctx context.Context, c *call.Call, in *api.GetBucketCorsInput) (*api.GetBucketCorsOutput, error) {
	b, cfg, err := s.configuration(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	if cfg.CORS == nil {
		return nil, aws.Errorf("NoSuchCORSConfiguration", "The CORS configuration does not exist").WithStatus(404).With("BucketName", b.Name)
	}
	return &api.GetBucketCorsOutput{CORSRules: cfg.CORS}, nil
}

func (s *Service) putBucketCors(ctx context.Context, c *call.Call, in *api.PutBucketCorsInput) (*api.PutBucketCorsOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	if in.CORSConfiguration == nil || len(in.CORSConfiguration.CORSRules) == 0 {
		return nil, errMalformedXML()
	}
	rules := in.CORSConfiguration.CORSRules
	if len(rules) > maxCORSRules {
		return nil, errInvalidRequest("The number of CORS rules should not exceed allowed limit of %d rules.", maxCORSRules)
	}
	for i := range rules {
		if err := checkCORS(&rules[i]); err != nil {
			return nil, err
		}
	}
	err := s.configure(ctx, in.Bucket, func(_ *bucket, cfg *config) error {
		cfg.CORS = rules
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketCorsOutput{}, nil
}

func checkCORS(r *api.CORSRule) error {
	if len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) == 0 || !storable(r.ID) {
		return errMalformedXML()
	}
	if len(r.ID) > maxRuleID {
		return errInvalidArgument("ID", r.ID, "ID length should not exceed allowed limit of %d", maxRuleID)
	}
	for _, m := range r.AllowedMethods {
		if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, m) {
			return errInvalidRequest("Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
		}
	}
	for element, values := range map[string][]string{"AllowedOrigin": r.AllowedOrigins, "AllowedHeader": r.AllowedHeaders} {
		for _, v := range values {
			if !storable(v) {
				return errMalformedXML()
			}
			if strings.Count(v, "*") > 1 {
				return errInvalidRequest("%s \"%s\" can not have more than one wildcard.", element, v)
			}
		}
	}
	for _, v := range r.ExposeHeaders {
		if strings.Contains(v, "*") {
			return errInvalidRequest("ExposeHeader \"%s\" contains wildcard. We currently do not support wildcard for ExposeHeader.", v)
		}
	}
	return nil
}

func (s *Service) deleteBucketCors(ctx context.Context, c *call.Call, in *api.DeleteBucketCorsInput) (*api.DeleteBucketCorsOutput, error) {
	err := s.configure(ctx, in.Bucket, func(_ *bucket, cfg *config) error {
		cfg.CORS = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketCorsOutput{}, nil
}

const maxRoutingRules = 50

func (s *Service) getBucketWebsite(ctx context.Context, c *call.Call, in *api.GetBucketWebsiteInput) (*api.GetBucketWebsiteOutput, error) {
	b, cfg, err := s.configuration(ctx, in.Bucket)
	if err != nil {
		return nil, err
	}
	w := cfg.Website
	if w == nil {
		return nil, aws.Errorf("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration").
			WithStatus(404).With("BucketName", b.Name)
	}
	return &api.GetBucketWebsiteOutput{
		RedirectAllRequestsTo: w.RedirectAllRequestsTo, IndexDocument: w.IndexDocument, ErrorDocument: w.ErrorDocument, RoutingRules: w.RoutingRules,
	}, nil
}

func (s *Service) putBucketWebsite(ctx context.Context, c *call.Call, in *api.PutBucketWebsiteInput) (*api.PutBucketWebsiteOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	if err := checkWebsite(in.WebsiteConfiguration); err != nil {
		return nil, err
	}
	err := s.configure(ctx, in.Bucket, func(_ *bucket, cfg *config) error {
		cfg.Website = in.WebsiteConfiguration
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.PutBucketWebsiteOutput{}, nil
}

func checkWebsite(w *api.WebsiteConfiguration) error {
	if w == nil || !storable(encode(w)) {
		return errMalformedXML()
	}
	if to := w.RedirectAllRequestsTo; to != nil {
		if w.IndexDocument != nil || w.ErrorDocument != nil || len(w.RoutingRules) > 0 {
			return errInvalidArgument("RedirectAllRequestsTo", "not null", "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.")
		}
		if to.HostName == "" {
			return errMalformedXML()
		}
		return checkProtocol(to.Protocol)
	}
	switch {
	case w.IndexDocument == nil:
		return errInvalidArgument("IndexDocument", "null", "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty")
	case w.IndexDocument.Suffix == "" || strings.Contains(w.IndexDocument.Suffix, "/"):
		return errInvalidArgument("IndexDocument", w.IndexDocument.Suffix, "The IndexDocument Suffix is not well formed")
	case w.ErrorDocument != nil && w.ErrorDocument.Key == "":
		return errMalformedXML()
	case len(w.RoutingRules) > maxRoutingRules:
		return errInvalidRequest("The number of routing rules must not exceed %d", maxRoutingRules)
	}
	for i := range w.RoutingRules {
		if err := checkRouting(&w.RoutingRules[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkProtocol(p string) error {
	if p != "" && p != "http" && p != "https" {
		return errInvalidRequest("Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.")
	}
	return nil
}

func checkRouting(r *api.RoutingRule) error {
	if cond := r.Condition; cond != nil {
		if *cond == (api.Condition{}) {
			return errInvalidRequest("Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.")
		}
		if code := cond.HttpErrorCodeReturnedEquals; code != "" && !statusIn(code, 400, 599) {
			return errInvalidRequest("The provided HTTP error code (%s) is not valid. Valid codes are 4XX or 5XX.", code)
		}
	}
	to := r.Redirect
	if to == nil || *to == (api.Redirect{}) {
		return errMalformedXML()
	}
	if to.ReplaceKeyWith != "" && to.ReplaceKeyPrefixWith != "" {
		return errInvalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	}
	if code := to.HttpRedirectCode; code != "" && !statusIn(code, 301, 399) {
		return errInvalidRequest("The provided HTTP redirect code (%s) is not valid. Valid codes are 3XX except 300.", code)
	}
	return checkProtocol(to.Protocol)
}

func statusIn(code string, least, most int) bool {
	n, err := strconv.Atoi(code)
	return err == nil && n >= least && n <= most
}

func (s *Service) deleteBucketWebsite(ctx context.Context, c *call.Call, in *api.DeleteBucketWebsiteInput) (*api.DeleteBucketWebsiteOutput, error) {
	err := s.configure(ctx, in.Bucket, func(_ *bucket, cfg *config) error {
		cfg.Website = nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteBucketWebsiteOutput{}, nil
}

// putBucketRequestPayment takes the owner as the one who pays, as is so anyway,
// and refuses that requesters do.
func (s *Service) putBucketRequestPayment(ctx context.Context, c *call.Call, in *api.PutBucketRequestPaymentInput) (*api.PutBucketRequestPaymentOutput, error) {
	if _, err := s.bucket(ctx, in.Bucket); err != nil {
		return nil, err
	}
	cfg := in.RequestPaymentConfiguration
	switch {
	case cfg == nil:
		return nil, errMalformedXML()
	case cfg.Payer == "Requester":
		return nil, errNotImplemented("Requester pays is not implemented: nobody is billed")
	case cfg.Payer != "BucketOwner":
		return nil, errMalformedXML()
	}
	return &api.PutBucketRequestPaymentOutput{}, nil
}
