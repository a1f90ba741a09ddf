package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// roots are the root elements of S3's answers that the model does not name.
var roots = map[string]string{
	"CompleteMultipartUpload":                    "CompleteMultipartUploadResult",
	"CreateMultipartUpload":                      "InitiateMultipartUploadResult",
	"CreateSession":                              "CreateSessionResult",
	"DeleteObjects":                              "DeleteResult",
	"GetBucketAccelerateConfiguration":           "AccelerateConfiguration",
	"GetBucketAcl":                               "AccessControlPolicy",
	"GetBucketCors":                              "CORSConfiguration",
	"GetBucketLifecycle":                         "LifecycleConfiguration",
	"GetBucketLifecycleConfiguration":            "LifecycleConfiguration",
	"GetBucketLocation":                          "LocationConstraint",
	"GetBucketLogging":                           "BucketLoggingStatus",
	"GetBucketNotification":                      "NotificationConfiguration",
	"GetBucketNotificationConfiguration":         "NotificationConfiguration",
	"GetBucketRequestPayment":                    "RequestPaymentConfiguration",
	"GetBucketTagging":                           "Tagging",
	"GetBucketVersioning":                        "VersioningConfiguration",
	"GetBucketWebsite":                           "WebsiteConfiguration",
	"GetObjectAcl":                               "AccessControlPolicy",
	"GetObjectAttributes":                        "GetObjectAttributesResponse",
	"GetObjectTagging":                           "Tagging",
	"ListBucketAnalyticsConfigurations":          "ListBucketAnalyticsConfigurationResult",
	"ListBucketIntelligentTieringConfigurations": "ListBucketIntelligentTieringConfigurationsOutput",
	"ListBucketInventoryConfigurations":          "ListInventoryConfigurationsResult",
	"ListBucketMetricsConfigurations":            "ListMetricsConfigurationsResult",
	"ListBuckets":                                "ListAllMyBucketsResult",
	"ListDirectoryBuckets":                       "ListAllMyDirectoryBucketsResult",
	"ListMultipartUploads":                       "ListMultipartUploadsResult",
	"ListObjectVersions":                         "ListVersionsResult",
	"ListObjects":                                "ListBucketResult",
	"ListObjectsV2":                              "ListBucketResult",
	"ListParts":                                  "ListPartsResult",
}

// unwrapped are the S3 operations whose answer's root element holds the text
// of the only member.
var unwrapped = map[string]bool{"GetBucketLocation": true}

// invalid are the codes with which services refuse what the model's constraints
// do not allow, where it is not their protocol's usual one.
var invalid = map[string]string{"organizations": "InvalidInputException"}

var protocols = map[string]string{"json": "JSON", "query": "Query", "rest-xml": "RESTXML"}

func (g *generator) table() ([]byte, error) {
	protocol, ok := protocols[g.Metadata.Protocol]
	if !ok {
		return nil, fmt.Errorf("protocol %q", g.Metadata.Protocol)
	}
	signing := g.Metadata.SigningName
	if signing == "" {
		signing = g.Metadata.EndpointPrefix
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%spackage %s\n\nimport (\n\"reflect\"\n\n\"github.com/sekisho/sekisho/internal/wire\"\n)\n\n", header, g.service)
	fmt.Fprintf(&b, "// Model describes %s, API version %s, to package wire.\nfunc Model() *wire.Model {\nreturn &wire.Model{\n", g.service, g.Metadata.APIVersion)
	fmt.Fprintf(&b, "Name: %q,\nProtocol: wire.%s,\nVersion: %q,\nEndpoint: %q,\nSigning: %q,\n", g.service, protocol, g.Metadata.APIVersion, g.Metadata.EndpointPrefix, signing)
	fmt.Fprintf(&b, "Target: %q,\nNamespace: %q,\n", g.Metadata.TargetPrefix, g.namespace())
	if code := invalid[g.service]; code != "" {
		fmt.Fprintf(&b, "Invalid: %q,\n", code)
	}
	g.operationTable(&b)
	g.errorTable(&b)
	if err := g.ruleTable(&b); err != nil {
		return nil, err
	}
	b.WriteString("}\n}\n")
	return b.Bytes(), nil
}

// namespace is the XML namespace of answers: S3's model leaves it to each
// structure.
func (g *generator) namespace() string {
	if g.Metadata.Protocol == "rest-xml" {
		return "http://s3.amazonaws.com/doc/2006-03-01/"
	}
	return g.Metadata.XMLNamespace
}

func (g *generator) operationTable(b *bytes.Buffer) {
	b.WriteString("Operations: []wire.Operation{\n")
	for _, op := range g.ops {
		fmt.Fprintf(b, "{Name: %q, Method: %q, URI: %q, Status: %d, In: reflect.TypeFor[%sInput](), Out: reflect.TypeFor[%sOutput]()",
			op.Name, op.HTTP.Method, op.HTTP.RequestURI, op.HTTP.ResponseCode, op.Name, op.Name)
		if op.Output == nil {
			b.WriteString(", Void: true")
		}
		if op.Deprecated {
			b.WriteString(", Deprecated: true")
		}
		if op.Input != nil && op.Input.LocationName != "" {
			fmt.Fprintf(b, ", InRoot: %q", op.Input.LocationName)
		}
		if root := roots[op.Name]; root != "" && g.service == "s3" {
			fmt.Fprintf(b, ", Root: %q", root)
			if unwrapped[op.Name] {
				b.WriteString(", Unwrapped: true")
			}
		}
		if len(op.Errors) > 0 {
			fmt.Fprintf(b, ", Errors: %s", quoted(g.codes(op.Errors)))
		}
		b.WriteString("},\n")
	}
	b.WriteString("},\n")
}

func (g *generator) codes(refs []ref) []string {
	var codes []string
	for _, r := range refs {
		codes = append(codes, g.code(r.Shape))
	}
	return codes
}

// code is what clients know an error shape by: in JSON services its name,
// elsewhere the code that the model gives it.
func (g *generator) code(name string) string {
	if code := g.Shapes[name].Error.Code; code != "" && g.Metadata.Protocol != "json" {
		return code
	}
	return name
}

func (g *generator) errorTable(b *bytes.Buffer) {
	shapes := map[string]*shape{}
	for name, s := range g.Shapes {
		if s.Exception {
			shapes[g.code(name)] = s
		}
	}
	b.WriteString("Errors: []wire.ErrorShape{\n")
	for _, code := range slices.Sorted(maps.Keys(shapes)) {
		s := shapes[code]
		fmt.Fprintf(b, "{Code: %q", code)
		if s.Error.HTTPStatusCode != 0 {
			fmt.Fprintf(b, ", Status: %d", s.Error.HTTPStatusCode)
		}
		var names []string
		for _, m := range s.Members {
			if !strings.EqualFold(m.Name, "message") {
				names = append(names, g.wireName(m, g.Shapes[m.Shape]))
			}
		}
		if names != nil {
			fmt.Fprintf(b, ", Members: %s", quoted(names))
		}
		b.WriteString("},\n")
	}
	b.WriteString("},\n")
}

func quoted(list []string) string {
	var b strings.Builder
	b.WriteString("[]string{")
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(s))
	}
	b.WriteString("}")
	return b.String()
}
