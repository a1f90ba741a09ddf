package conformance

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// union lists the SDK's types of a union's members, by the member's name.
var unions = map[reflect.Type]map[string]reflect.Type{
	reflect.TypeFor[s3types.AnalyticsFilter](): {
		"Prefix": reflect.TypeFor[s3types.AnalyticsFilterMemberPrefix](),
		"Tag":    reflect.TypeFor[s3types.AnalyticsFilterMemberTag](),
		"And":    reflect.TypeFor[s3types.AnalyticsFilterMemberAnd](),
	},
	reflect.TypeFor[s3types.ObjectEncryption](): {
		"SSEKMS": reflect.TypeFor[s3types.ObjectEncryptionMemberSSEKMS](),
	},
	reflect.TypeFor[s3types.MetricsFilter](): {
		"Prefix":         reflect.TypeFor[s3types.MetricsFilterMemberPrefix](),
		"Tag":            reflect.TypeFor[s3types.MetricsFilterMemberTag](),
		"And":            reflect.TypeFor[s3types.MetricsFilterMemberAnd](),
		"AccessPointArn": reflect.TypeFor[s3types.MetricsFilterMemberAccessPointArn](),
	},
}

// unmatched are members that one side has and the other has not, with the
// reason.
var unmatched = map[string]string{
	"ResultMetadata": "the SDK's own: middleware metadata",
	"ExpiresString":  "the SDK's own: Expires as it was sent, which is what ours is",
}

// newer are the members that the SDK has and the models of the pinned botocore
// have not yet. Raising botocore's version empties the list.
var newer = map[string]bool{
	"cloudformation.ContinueUpdateRollbackInput.ForceRollback":             true,
	"cloudformation.CreateChangeSetInput.DeploymentConfig":                 true,
	"cloudformation.CreateChangeSetInput.DisableValidation":                true,
	"cloudformation.CreateStackInput.DeploymentConfig":                     true,
	"cloudformation.CreateStackInput.DisableValidation":                    true,
	"cloudformation.DeleteStackInput.DeploymentConfig":                     true,
	"cloudformation.DescribeChangeSetOutput.DeploymentConfig":              true,
	"cloudformation.RollbackStackInput.DeploymentConfig":                   true,
	"cloudformation.UpdateStackInput.DeploymentConfig":                     true,
	"cloudformation.UpdateStackInput.DisableValidation":                    true,
	"eventbridge.DescribeEventBusOutput.ManagedBy":                         true,
	"iam.SimulateCustomPolicyInput.OrderedOrganizationPolicyInputList":     true,
	"iam.SimulatePrincipalPolicyInput.PolicyExclusionList":                 true,
	"kms.CreateGrantInput.GranteeServicePrincipal":                         true,
	"kms.CreateGrantInput.RetiringServicePrincipal":                        true,
	"kms.GetPublicKeyOutput.EncapsulationAlgorithms":                       true,
	"kms.ListGrantsInput.GranteeServicePrincipal":                          true,
	"kms.ListRetirableGrantsInput.RetiringServicePrincipal":                true,
	"s3.CopyObjectInput.AnnotationDirective":                               true,
	"s3.CopyObjectInput.ObjectLockEventHold":                               true,
	"s3.CopyObjectInput.ObjectLockEventHoldDurationDays":                   true,
	"s3.CopyObjectInput.ObjectLockEventHoldDurationYears":                  true,
	"s3.CreateMultipartUploadInput.ObjectLockEventHold":                    true,
	"s3.CreateMultipartUploadInput.ObjectLockEventHoldDurationDays":        true,
	"s3.CreateMultipartUploadInput.ObjectLockEventHoldDurationYears":       true,
	"s3.GetObjectOutput.ObjectLockEventHold":                               true,
	"s3.GetObjectOutput.ObjectLockEventHoldDurationDays":                   true,
	"s3.GetObjectOutput.ObjectLockEventHoldDurationYears":                  true,
	"s3.HeadObjectOutput.ObjectLockEventHold":                              true,
	"s3.HeadObjectOutput.ObjectLockEventHoldDurationDays":                  true,
	"s3.HeadObjectOutput.ObjectLockEventHoldDurationYears":                 true,
	"s3.PutObjectInput.ObjectLockEventHold":                                true,
	"s3.PutObjectInput.ObjectLockEventHoldDurationDays":                    true,
	"s3.PutObjectInput.ObjectLockEventHoldDurationYears":                   true,
	"sts.AssumeRoleInput.MinimumSessionTokenSize":                          true,
	"sts.AssumeRoleOutput.SessionTokenSize":                                true,
	"sts.AssumeRoleOutput.SessionTokenUtilization":                         true,
	"sts.AssumeRoleWithSAMLInput.MinimumSessionTokenSize":                  true,
	"sts.AssumeRoleWithSAMLOutput.SessionTokenSize":                        true,
	"sts.AssumeRoleWithSAMLOutput.SessionTokenUtilization":                 true,
	"sts.AssumeRoleWithWebIdentityInput.MinimumSessionTokenSize":           true,
	"sts.AssumeRoleWithWebIdentityOutput.SessionTokenSize":                 true,
	"sts.AssumeRoleWithWebIdentityOutput.SessionTokenUtilization":          true,
	"sts.AssumeRootInput.MinimumSessionTokenSize":                          true,
	"sts.AssumeRootOutput.SessionTokenSize":                                true,
	"sts.AssumeRootOutput.SessionTokenUtilization":                         true,
	"sts.GetFederationTokenInput.MinimumSessionTokenSize":                  true,
	"sts.GetFederationTokenOutput.SessionTokenSize":                        true,
	"sts.GetFederationTokenOutput.SessionTokenUtilization":                 true,
	"sts.GetSessionTokenInput.MinimumSessionTokenSize":                     true,
	"sts.GetSessionTokenOutput.SessionTokenSize":                           true,
	"sts.GetSessionTokenOutput.SessionTokenUtilization":                    true,
	"types.DefaultRetention.DefaultEventHold":                              true,
	"types.EventBus.ManagedBy":                                             true,
	"types.GrantConstraints.SourceArn":                                     true,
	"types.GrantListEntry.GranteeServicePrincipal":                         true,
	"types.GrantListEntry.RetiringServicePrincipal":                        true,
	"types.KeyMetadata.EncapsulationAlgorithms":                            true,
	"types.MetadataConfiguration.AnnotationTableConfiguration":             true,
	"types.MetadataConfigurationResult.AnnotationTableConfigurationResult": true,
	"types.ObjectLockRetention.EventHold":                                  true,
	"types.ObjectLockRetention.EventHoldDuration":                          true,
	"types.Role.SourceRoleTemplate":                                        true,
	"types.Stack.DeploymentConfig":                                         true,
}

// converter copies values between our structs and the SDK's, which spell
// names with other capitals and numbers with other types. It notes what has
// no counterpart.
type converter struct{ lost []string }

func (c *converter) lose(format string, args ...any) {
	c.lost = append(c.lost, fmt.Sprintf(format, args...))
}

// toSDK copies ours to the SDK's.
func (c *converter) toSDK(dst, src reflect.Value) {
	switch {
	case dst.Kind() == reflect.Pointer && src.Kind() == reflect.Pointer:
		if src.IsNil() {
			return
		}
		dst.Set(reflect.New(dst.Type().Elem()))
		c.toSDK(dst.Elem(), src.Elem())
	case dst.Kind() == reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		c.toSDK(dst.Elem(), src)
	case isStream(src.Type()):
		if !src.IsNil() {
			dst.Set(reflect.ValueOf(src.Interface()))
		}
	case src.Kind() == reflect.Pointer:
		if !src.IsNil() {
			c.toSDK(dst, src.Elem())
		}
	case dst.Kind() == reflect.Interface:
		c.toUnion(dst, src)
	case src.Type() == reflect.TypeFor[time.Time]():
		dst.Set(src)
	case dst.Type() == reflect.TypeFor[time.Time]():
		t, err := time.Parse(time.RFC1123, src.String())
		if err == nil {
			dst.Set(reflect.ValueOf(t))
		}
	default:
		c.copyKind(dst, src)
	}
}

func (c *converter) copyKind(dst, src reflect.Value) {
	switch src.Kind() {
	case reflect.String:
		dst.SetString(src.String())
	case reflect.Bool:
		dst.SetBool(src.Bool())
	case reflect.Int64:
		if dst.Kind() == reflect.String { // markers that the SDK takes for text
			dst.SetString(strconv.FormatInt(src.Int(), 10))
			return
		}
		dst.SetInt(src.Int())
	case reflect.Float64:
		dst.SetFloat(src.Float())
	case reflect.Slice:
		if src.Type() == reflect.TypeFor[[]byte]() {
			dst.SetBytes(src.Bytes())
			return
		}
		dst.Set(reflect.MakeSlice(dst.Type(), src.Len(), src.Len()))
		for i := range src.Len() {
			c.toSDK(dst.Index(i), src.Index(i))
		}
	case reflect.Map:
		dst.Set(reflect.MakeMap(dst.Type()))
		for it := src.MapRange(); it.Next(); {
			e := reflect.New(dst.Type().Elem()).Elem()
			c.toSDK(e, it.Value())
			dst.SetMapIndex(it.Key().Convert(dst.Type().Key()), e)
		}
	case reflect.Struct:
		c.members(dst, src)
	default:
		c.lose("a %s cannot become a %s", src.Type(), dst.Type())
	}
}

func (c *converter) members(dst, src reflect.Value) {
	taken := map[string]bool{}
	for i := range src.NumField() {
		name := src.Type().Field(i).Name
		at, ok := fieldByFold(dst.Type(), name)
		if !ok {
			c.lose("%s.%s is not in the SDK", src.Type(), name)
			continue
		}
		taken[at.Name] = true
		if src.Field(i).IsZero() {
			continue
		}
		c.toSDK(dst.FieldByIndex(at.Index), src.Field(i))
	}
	for i := range dst.NumField() {
		f := dst.Type().Field(i)
		if f.IsExported() && !taken[f.Name] && unmatched[f.Name] == "" && !newer[dst.Type().String()+"."+f.Name] {
			c.lose("%s.%s of the SDK is not in ours", dst.Type(), f.Name)
		}
	}
}

// fieldByFold finds a field whatever its capitals.
func fieldByFold(t reflect.Type, name string) (reflect.StructField, bool) {
	if f, ok := t.FieldByName(name); ok {
		return f, true
	}
	return t.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, name) })
}

func (c *converter) toUnion(dst, src reflect.Value) {
	members, ok := unions[dst.Type()]
	if !ok {
		c.lose("the union %s is not known to the test", dst.Type())
		return
	}
	for i := range src.NumField() {
		if src.Field(i).IsZero() {
			continue
		}
		m := reflect.New(members[src.Type().Field(i).Name])
		c.toSDK(m.Elem().FieldByName("Value"), src.Field(i))
		dst.Set(m)
	}
}

// fromSDK copies the SDK's to ours.
func (c *converter) fromSDK(dst, src reflect.Value) {
	switch {
	case src.Kind() == reflect.Pointer:
		if src.IsNil() {
			return
		}
		if dst.Kind() == reflect.Pointer {
			dst.Set(reflect.New(dst.Type().Elem()))
			dst = dst.Elem()
		}
		c.fromSDK(dst, src.Elem())
	case isStream(dst.Type()):
		if !src.IsNil() {
			b, err := io.ReadAll(src.Interface().(io.Reader))
			if err != nil {
				c.lose("body: %v", err)
			}
			dst.Set(reflect.ValueOf(stream{bytes.NewBuffer(b)}))
		}
	case src.Kind() == reflect.Interface:
		c.fromUnion(dst, src)
	case dst.Kind() == reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		c.fromSDK(dst.Elem(), src)
	case src.Type() == reflect.TypeFor[time.Time]():
		if dst.Kind() == reflect.Struct {
			dst.Set(reflect.ValueOf(src.Interface().(time.Time).UTC()))
		}
	default:
		c.copyBack(dst, src)
	}
}

func (c *converter) copyBack(dst, src reflect.Value) {
	switch src.Kind() {
	case reflect.String:
		if dst.Kind() == reflect.Int64 {
			n, _ := strconv.ParseInt(src.String(), 10, 64)
			dst.SetInt(n)
			return
		}
		dst.SetString(src.String())
	case reflect.Bool:
		dst.SetBool(src.Bool())
	case reflect.Int32, reflect.Int64:
		dst.SetInt(src.Int())
	case reflect.Float32, reflect.Float64:
		dst.SetFloat(src.Float())
	case reflect.Slice:
		if src.IsNil() {
			return
		}
		if dst.Type() == reflect.TypeFor[[]byte]() {
			dst.SetBytes(src.Bytes())
			return
		}
		dst.Set(reflect.MakeSlice(dst.Type(), src.Len(), src.Len()))
		for i := range src.Len() {
			c.fromSDK(dst.Index(i), src.Index(i))
		}
	case reflect.Map:
		if src.IsNil() {
			return
		}
		dst.Set(reflect.MakeMap(dst.Type()))
		for it := src.MapRange(); it.Next(); {
			e := reflect.New(dst.Type().Elem()).Elem()
			c.fromSDK(e, it.Value())
			dst.SetMapIndex(it.Key().Convert(reflect.TypeFor[string]()), e)
		}
	case reflect.Struct:
		for i := range dst.NumField() {
			if f, ok := fieldByFold(src.Type(), dst.Type().Field(i).Name); ok {
				c.fromSDK(dst.Field(i), src.FieldByIndex(f.Index))
			}
		}
		if f := src.FieldByName("ExpiresString"); f.IsValid() {
			c.fromSDK(dst.FieldByName("Expires"), f)
		}
	}
}

func (c *converter) fromUnion(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	for name, t := range unions[src.Type()] {
		if src.Elem().Type() == reflect.PointerTo(t) {
			c.fromSDK(dst.FieldByName(name), src.Elem().Elem().FieldByName("Value"))
		}
	}
}

// stream is a body that was read.
type stream struct{ *bytes.Buffer }

func (stream) Close() error { return nil }

func isStream(t reflect.Type) bool {
	return t == reflect.TypeFor[io.Reader]() || t == reflect.TypeFor[io.ReadCloser]()
}
