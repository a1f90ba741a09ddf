package cloudtrail

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/call"
)

// eventVersion is the version of AWS's record format that this is.
const eventVersion = "1.11"

// event is a record in CloudTrail's own shape.
type event struct {
	EventVersion       string          `json:"eventVersion"`
	UserIdentity       identity        `json:"userIdentity"`
	EventTime          string          `json:"eventTime"`
	EventSource        string          `json:"eventSource"`
	EventName          string          `json:"eventName"`
	AWSRegion          string          `json:"awsRegion"`
	SourceIPAddress    string          `json:"sourceIPAddress"`
	UserAgent          string          `json:"userAgent"`
	ErrorCode          string          `json:"errorCode,omitempty"`
	ErrorMessage       string          `json:"errorMessage,omitempty"`
	RequestParameters  json.RawMessage `json:"requestParameters"`
	ResponseElements   json.RawMessage `json:"responseElements"`
	RequestID          string          `json:"requestID"`
	EventID            string          `json:"eventID"`
	ReadOnly           bool            `json:"readOnly"`
	Resources          []eventResource `json:"resources,omitempty"`
	EventType          string          `json:"eventType"`
	ManagementEvent    bool            `json:"managementEvent"`
	RecipientAccountID string          `json:"recipientAccountId"`
	SharedEventID      string          `json:"sharedEventID,omitempty"`
	EventCategory      string          `json:"eventCategory"`
}

type eventResource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"`
	ARN       string `json:"ARN"`
}

type identity struct {
	Type           string          `json:"type"`
	PrincipalID    string          `json:"principalId,omitempty"`
	ARN            string          `json:"arn,omitempty"`
	AccountID      string          `json:"accountId,omitempty"`
	AccessKeyID    string          `json:"accessKeyId,omitempty"`
	UserName       string          `json:"userName,omitempty"`
	Provider       string          `json:"identityProvider,omitempty"`
	SessionContext *sessionContext `json:"sessionContext,omitempty"`
	InvokedBy      string          `json:"invokedBy,omitempty"`
}

type sessionContext struct {
	SessionIssuer  *sessionIssuer    `json:"sessionIssuer,omitempty"`
	Attributes     sessionAttributes `json:"attributes"`
	SourceIdentity string            `json:"sourceIdentity,omitempty"`
}

type sessionIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

type sessionAttributes struct {
	CreationDate     string `json:"creationDate"`
	MFAAuthenticated string `json:"mfaAuthenticated"`
}

// issuesCredentials are the operations of STS that make credentials.
var issuesCredentials = map[string]bool{
	"AssumeRole": true, "AssumeRoleWithWebIdentity": true, "GetFederationToken": true, "GetSessionToken": true,
}

// newEvent writes a record as the history of one of its accounts shows it.
func newEvent(id string, e *call.Entry, account string) event {
	c := e.Call
	_, owner := accounts(e)
	out := event{
		EventVersion: eventVersion, UserIdentity: identityOf(c), EventTime: stampOf(c.Time), EventSource: c.Service + ".amazonaws.com",
		EventName: eventName(c.Service, c.Operation), AWSRegion: eventRegion(c), SourceIPAddress: c.SourceIP, UserAgent: c.UserAgent,
		RequestParameters: e.Request, RequestID: c.ID, EventID: id, ReadOnly: e.ReadOnly, EventType: "AwsApiCall",
		ManagementEvent: management(c.Service, c.Operation), RecipientAccountID: account, EventCategory: "Management",
	}
	if by := out.UserIdentity.InvokedBy; by != "" {
		out.SourceIPAddress, out.UserAgent = by, by
	}
	if owner != "" {
		out.SharedEventID = id
	}
	if account == owner && owner != "" {
		out.UserIdentity = stranger(out.UserIdentity)
	}
	if e.Error != nil {
		out.ErrorCode, out.ErrorMessage = e.Error.Code, e.Error.Message
	} else if !e.ReadOnly || issuesCredentials[c.Operation] { // which reads, and yet is shown with whom it made
		out.ResponseElements = e.Response
	}
	for _, arn := range e.Resources {
		r := resourceOf(arn)
		out.Resources = append(out.Resources, eventResource{AccountID: r.account, Type: r.kind, ARN: arn})
	}
	return out
}

func stampOf(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// identityOf is the userIdentity of a call's principal.
func identityOf(c *call.Call) identity {
	p := c.Principal
	id := identity{PrincipalID: p.ID, ARN: p.ARN, AccountID: p.Account, AccessKeyID: p.AccessKeyID, InvokedBy: invokedBy(c)}
	switch p.Kind {
	case aws.Federated:
		id.Type = "FederatedUser"
		if p.Account == "" {
			return identity{Type: "WebIdentityUser", PrincipalID: p.ID, UserName: subjectOf(p), Provider: p.ARN}
		}
	case aws.Root:
		id.Type = "Root"
	case aws.User:
		id.Type, id.UserName = "IAMUser", p.Name()
	case aws.Session:
		id.Type = "AssumedRole"
	case aws.Service:
		return identity{Type: "AWSService", InvokedBy: p.ARN}
	default:
		return identity{Type: "AWSAccount", AccountID: "ANONYMOUS_PRINCIPAL", InvokedBy: id.InvokedBy}
	}
	id.SessionContext = contextOf(p)
	return id
}

// invokedBy is the service that made the call for the principal, if one did.
func invokedBy(c *call.Call) string {
	if n := len(c.Via); n > 0 {
		return c.Via[n-1]
	}
	if strings.HasSuffix(c.SourceIP, ".amazonaws.com") {
		return c.SourceIP
	}
	return ""
}

// subjectOf is whom an identity provider calls a web identity.
func subjectOf(p aws.Principal) string {
	for key, values := range p.Provided {
		if strings.HasSuffix(key, ":sub") && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// contextOf describes temporary credentials; nil for others.
func contextOf(p aws.Principal) *sessionContext {
	if !p.Temporary && p.Kind != aws.Session {
		return nil
	}
	out := &sessionContext{SourceIdentity: p.SourceIdentity, Attributes: sessionAttributes{CreationDate: stampOf(p.Issued), MFAAuthenticated: "false"}}
	if p.MFA {
		out.Attributes.MFAAuthenticated = "true"
	}
	if p.Kind == aws.Federated {
		parent, sort := aws.Principal{Kind: aws.User, ARN: p.ParentARN}, "IAMUser"
		if p.ParentID == p.Account {
			parent, sort = aws.RootPrincipal(p.Account), "Root"
		}
		out.SessionIssuer = &sessionIssuer{Type: sort, PrincipalID: p.ParentID, ARN: p.ParentARN, AccountID: p.Account, UserName: parent.Name()}
	}
	if p.Kind == aws.Session {
		role, _, _ := strings.Cut(p.ID, ":")
		out.SessionIssuer = &sessionIssuer{Type: "Role", PrincipalID: role, ARN: p.RoleARN, AccountID: p.Account, UserName: p.Name()}
	}
	return out
}

// stranger is what an account is told about a caller of another account.
func stranger(id identity) identity {
	return identity{Type: "AWSAccount", PrincipalID: id.PrincipalID, AccountID: id.AccountID, InvokedBy: id.InvokedBy}
}
