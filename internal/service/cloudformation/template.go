package cloudformation

import (
	"context"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"

	api "github.com/sekisho/sekisho/internal/api/cloudformation"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
	"github.com/sekisho/sekisho/internal/cfn"
)

// maxInline is the size of the largest template in a request.
const maxInline = 51_200

// source is where the definition of a stack comes from, as the operations
// that take one have it.
type source struct {
	TemplateBody, TemplateURL string
	UsePrevious               *bool
	Parameters                []api.Parameter
	Tags                      []api.Tag
	Capabilities              []string
	ResourceTypes             []string

	NotificationARNs []string
	Rollback         *api.RollbackConfiguration
	StackPolicy      string
}

// define reads, checks and binds a definition. previous is what the stack was
// made from before; nil for a new one.
func (s *Service) define(ctx context.Context, c *call.Call, src source, previous *definition) (*cfn.Template, *definition, error) {
	if err := src.refuse(); err != nil {
		return nil, nil, err
	}
	body, err := s.templateBody(ctx, c, src, previous)
	if err != nil {
		return nil, nil, err
	}
	t, err := cfn.Parse(body)
	if err != nil {
		return nil, nil, err
	}
	if err := t.Check(s.schema); err != nil {
		return nil, nil, err
	}
	if err := allowedTypes(t, src.ResourceTypes); err != nil {
		return nil, nil, err
	}
	d := &definition{Template: body, Capabilities: src.Capabilities}
	if d.Parameters, err = parameters(t, src.Parameters, previous); err != nil {
		return nil, nil, err
	}
	if d.Tags, err = stackTags(src.Tags, previous); err != nil {
		return nil, nil, err
	}
	return t, d, s.capable(t, src.Capabilities)
}

// refuse names what needs services that sekisho does not provide: taking it
// in silence would promise what never happens.
func (src source) refuse() error {
	if len(src.NotificationARNs) > 0 {
		return validation("NotificationARNs need SNS, which sekisho does not provide.")
	}
	if src.Rollback != nil && len(src.Rollback.RollbackTriggers) > 0 {
		return validation("Rollback triggers need CloudWatch alarms, which sekisho does not provide.")
	}
	if src.Rollback != nil && src.Rollback.MonitoringTimeInMinutes != nil && *src.Rollback.MonitoringTimeInMinutes > 0 {
		return validation("MonitoringTimeInMinutes is not provided by sekisho.") // AWS waits, triggers or not
	}
	if src.StackPolicy != "" {
		return validation("Stack policies are not provided by sekisho.")
	}
	return nil
}

func (s *Service) templateBody(ctx context.Context, c *call.Call, src source, previous *definition) (string, error) {
	usePrevious := src.UsePrevious != nil && *src.UsePrevious
	given := 0
	for _, is := range []bool{src.TemplateBody != "", src.TemplateURL != "", usePrevious} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return "", validation("Either Template URL or Template Body must be specified.")
	case given > 1:
		return "", validation("Only one of Template URL, Template Body or UsePreviousTemplate may be specified.")
	case usePrevious && (previous == nil || previous.Template == ""):
		return "", validation("UsePreviousTemplate cannot be specified for a stack that has no template.")
	case usePrevious:
		return previous.Template, nil
	case src.TemplateURL != "":
		return s.fetch(ctx, c, src.TemplateURL)
	case len(src.TemplateBody) > maxInline:
		return "", validation("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d", maxInline)
	}
	return src.TemplateBody, nil
}

// object is an S3 object that a URL names.
type object struct{ bucket, key, version string }

// templateObject finds bucket and key in the URL of a template, in the forms
// in which AWS and sekisho address buckets.
func templateObject(text string) (object, error) {
	bad := validation("TemplateURL must be a supported URL.")
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return object{}, bad
	}
	o := object{version: u.Query().Get("versionId")}
	host, key := strings.ToLower(u.Hostname()), strings.TrimPrefix(u.Path, "/")
	switch {
	case strings.HasPrefix(host, "s3.") || strings.HasPrefix(host, "s3-"):
		o.bucket, o.key, _ = strings.Cut(key, "/")
	case strings.Contains(host, ".s3.") || strings.Contains(host, ".s3-"):
		end := strings.Index(host, ".s3.")
		if end < 0 {
			end = strings.Index(host, ".s3-")
		}
		o.bucket, o.key = host[:end], key
	case strings.HasSuffix(host, ".localhost"):
		o.bucket, o.key = strings.TrimSuffix(host, ".localhost"), key
	default:
		o.bucket, o.key, _ = strings.Cut(key, "/")
	}
	if o.bucket == "" || o.key == "" {
		return object{}, bad
	}
	return o, nil
}

// fetch reads a template from S3 in the caller's name.
func (s *Service) fetch(ctx context.Context, c *call.Call, address string) (string, error) {
	o, err := templateObject(address)
	if err != nil {
		return "", err
	}
	out, err := s3api.Client{Invoker: s.door.As(c.Forward(principal))}.GetObject(ctx, &s3api.GetObjectInput{
		Bucket: o.bucket, Key: o.key, VersionId: o.version,
	})
	if e, ok := errors.AsType[*aws.Error](err); ok {
		text := e.Message
		if strings.HasPrefix(e.Code, "AccessDenied") {
			text = "Access Denied"
		}
		return "", validation("S3 error: %s\nFor more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html", text)
	}
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, cfn.MaxBody+1))
	if err != nil {
		return "", err
	}
	if len(b) > cfn.MaxBody {
		return "", validation("Template may not exceed %d bytes in size.", cfn.MaxBody)
	}
	return string(b), nil
}

func allowedTypes(t *cfn.Template, allowed []string) error {
	if len(allowed) == 0 {
		return nil
	}
	for _, r := range t.Resources {
		ok := slices.ContainsFunc(allowed, func(a string) bool {
			prefix, wild := strings.CutSuffix(a, "*")
			return a == r.Type || wild && strings.HasPrefix(r.Type, prefix)
		})
		if !ok {
			return validation("Resource type %s is not allowed by parameter ResourceTypes [%s]", r.Type, strings.Join(allowed, ", "))
		}
	}
	return nil
}

// parameters binds what a caller gave to a template's parameters.
func parameters(t *cfn.Template, given []api.Parameter, previous *definition) (map[string]string, error) {
	values := make(map[string]string, len(given))
	for _, p := range given {
		if _, twice := values[p.ParameterKey]; twice {
			return nil, validation("Parameter '%s' is specified more than once", p.ParameterKey)
		}
		if p.UsePreviousValue == nil || !*p.UsePreviousValue {
			values[p.ParameterKey] = p.ParameterValue
			continue
		}
		if p.ParameterValue != "" {
			return nil, validation("Invalid input for parameter key %s. Cannot specify usePreviousValue as true and non empty value for a parameter", p.ParameterKey)
		}
		var v string
		ok := previous != nil
		if ok {
			v, ok = previous.Parameters[p.ParameterKey]
		}
		if !ok {
			return nil, validation("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", p.ParameterKey)
		}
		values[p.ParameterKey] = v
	}
	return t.Bind(values)
}

func stackTags(given []api.Tag, previous *definition) ([]aws.Tag, error) {
	if given == nil {
		if previous == nil {
			return nil, nil
		}
		return previous.Tags, nil
	}
	tags := []aws.Tag{}
	for _, t := range given {
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, validation("Stack tag key %s is reserved: keys must not begin with aws:", t.Key)
		}
		if slices.ContainsFunc(tags, func(other aws.Tag) bool { return other.Key == t.Key }) {
			return nil, validation("Duplicate tag keys found: %s", t.Key)
		}
		tags = append(tags, aws.Tag{Key: t.Key, Value: t.Value})
	}
	return tags, nil
}

// capabilities returns what a template needs acknowledged, and because of
// which types.
func (s *Service) capabilities(t *cfn.Template) (needed, types []string) {
	named := false
	for _, r := range t.Resources {
		k := s.types[r.Type]
		if !k.iam {
			continue
		}
		if !slices.Contains(types, r.Type) {
			types = append(types, r.Type)
		}
		named = named || k.named && r.Properties.Get(k.name) != nil
	}
	switch {
	case types == nil:
		return nil, nil
	case named:
		return []string{"CAPABILITY_NAMED_IAM"}, types
	}
	return []string{"CAPABILITY_IAM"}, types
}

// capable refuses a template that needs more than its caller acknowledged.
func (s *Service) capable(t *cfn.Template, acknowledged []string) error {
	needed, _ := s.capabilities(t)
	for _, c := range needed {
		if !slices.Contains(acknowledged, c) && !slices.Contains(acknowledged, "CAPABILITY_NAMED_IAM") {
			return aws.Errorf("InsufficientCapabilitiesException", "Requires capabilities : [%s]", c)
		}
	}
	return nil
}

func capabilitiesReason(types []string) string {
	if types == nil {
		return ""
	}
	return "The following resource(s) require capabilities: [" + strings.Join(types, ", ") + "]"
}

func (s *Service) validateTemplateNeeds(_ context.Context, _ *call.Call, in *api.ValidateTemplateInput) ([]call.Need, error) {
	return []call.Need{{Action: "cloudformation:ValidateTemplate", Resource: "*", Keys: asked{templateURL: in.TemplateURL}.keys()}}, nil
}

func (s *Service) validateTemplate(ctx context.Context, c *call.Call, in *api.ValidateTemplateInput) (*api.ValidateTemplateOutput, error) {
	body, err := s.templateBody(ctx, c, source{TemplateBody: in.TemplateBody, TemplateURL: in.TemplateURL}, nil)
	if err != nil {
		return nil, err
	}
	t, err := s.checked(body)
	if err != nil {
		return nil, err
	}
	capabilities, types := s.capabilities(t)
	out := &api.ValidateTemplateOutput{
		Description: t.Description, Capabilities: capabilities, CapabilitiesReason: capabilitiesReason(types),
		Parameters: []api.TemplateParameter{}, DeclaredTransforms: []string{},
	}
	for _, p := range t.Parameters {
		tp := api.TemplateParameter{ParameterKey: p.Name, NoEcho: new(p.NoEcho), Description: p.Description}
		if p.Default != nil {
			tp.DefaultValue = *p.Default
		}
		out.Parameters = append(out.Parameters, tp)
	}
	return out, nil
}

func (s *Service) checked(body string) (*cfn.Template, error) {
	t, err := cfn.Parse(body)
	if err != nil {
		return nil, err
	}
	return t, t.Check(s.schema)
}

func (s *Service) getTemplateNeeds(ctx context.Context, c *call.Call, in *api.GetTemplateInput) ([]call.Need, error) {
	return s.changeSetNeed(ctx, c, "cloudformation:GetTemplate", in.StackName, in.ChangeSetName)
}

func (s *Service) getTemplate(ctx context.Context, c *call.Call, in *api.GetTemplateInput) (*api.GetTemplateOutput, error) {
	out := &api.GetTemplateOutput{StagesAvailable: []string{"Original", "Processed"}}
	if in.ChangeSetName != "" {
		_, cs, err := s.changeSet(ctx, c, in.StackName, in.ChangeSetName)
		if err != nil {
			return nil, err
		}
		out.TemplateBody = cs.Def.Template
		return out, nil
	}
	if in.StackName == "" {
		return nil, validation("StackName is required if ChangeSetName is not specified.")
	}
	st, err := s.stack(ctx, c, in.StackName)
	if err != nil {
		return nil, err
	}
	out.TemplateBody = st.Def.Template
	if out.TemplateBody == "" && st.Op != nil && st.Op.Target != nil {
		out.TemplateBody = st.Op.Target.Template
	}
	return out, nil
}

func (s *Service) getTemplateSummaryNeeds(ctx context.Context, c *call.Call, in *api.GetTemplateSummaryInput) ([]call.Need, error) {
	const action = "cloudformation:GetTemplateSummary"
	keys := asked{templateURL: in.TemplateURL}.keys()
	if in.StackName != "" {
		return s.need(ctx, c, action, in.StackName, keys)
	}
	return []call.Need{{Action: action, Resource: "*", Keys: keys}}, nil
}

func (s *Service) getTemplateSummary(ctx context.Context, c *call.Call, in *api.GetTemplateSummaryInput) (*api.GetTemplateSummaryOutput, error) {
	if in.StackSetName != "" {
		return nil, validation("Stack sets are not provided by sekisho.")
	}
	var body string
	if in.StackName != "" {
		st, err := s.stack(ctx, c, in.StackName)
		if err != nil {
			return nil, err
		}
		body = st.Def.Template
	} else {
		var err error
		if body, err = s.templateBody(ctx, c, source{TemplateBody: in.TemplateBody, TemplateURL: in.TemplateURL}, nil); err != nil {
			return nil, err
		}
	}
	t, err := cfn.Parse(body)
	if err != nil {
		return nil, err
	}
	out := &api.GetTemplateSummaryOutput{Description: t.Description, Version: "2010-09-09", Parameters: []api.ParameterDeclaration{}}
	if config := in.TemplateSummaryConfig; config != nil && config.TreatUnrecognizedResourceTypesAsWarnings != nil &&
		*config.TreatUnrecognizedResourceTypesAsWarnings {
		out.Warnings = &api.Warnings{UnrecognizedResourceTypes: s.unrecognized(t)}
	} else if err := t.Check(s.schema); err != nil {
		return nil, err
	}
	var types []string
	out.Capabilities, types = s.capabilities(t)
	out.CapabilitiesReason = capabilitiesReason(types)
	if t.Metadata != nil {
		out.Metadata = string(t.Metadata.JSON())
	}
	summarize(t, out)
	return out, nil
}

func (s *Service) unrecognized(t *cfn.Template) []string {
	var types []string
	for _, r := range t.Resources {
		if _, ok := s.types[r.Type]; !ok && !slices.Contains(types, r.Type) {
			types = append(types, r.Type)
		}
	}
	return types
}

func summarize(t *cfn.Template, out *api.GetTemplateSummaryOutput) {
	for _, p := range t.Parameters {
		d := api.ParameterDeclaration{
			ParameterKey: p.Name, ParameterType: p.Type, NoEcho: new(p.NoEcho), Description: p.Description,
			ParameterConstraints: &api.ParameterConstraints{AllowedValues: p.AllowedValues},
		}
		if p.Default != nil {
			d.DefaultValue = *p.Default
		}
		out.Parameters = append(out.Parameters, d)
	}
	for _, r := range t.Resources {
		if !slices.Contains(out.ResourceTypes, r.Type) {
			out.ResourceTypes = append(out.ResourceTypes, r.Type)
		}
	}
}
