package gateway

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/api/codecommit"
	"github.com/sekisho/sekisho/internal/aws"
	"github.com/sekisho/sekisho/internal/sigv4"
)

// gitPath is /v1/repos/NAME, with a region before it where the host name does
// not say one, and what git appends.
var gitPath = regexp.MustCompile(`^((?:/([a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}))?/v1/repos/([^/]+))/(info/refs|git-upload-pack|git-receive-pack)$`)

// gitHost is AWS's form of the git endpoint's name, under any domain.
var gitHost = regexp.MustCompile(`^git-codecommit(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-[0-9]{1,2})\.`)

// gitSigned is the password of a signed git request: a time and a signature.
var gitSigned = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z[0-9a-f]{64}$`)

// gitRequest is one request of the smart HTTP protocol.
type gitRequest struct {
	// signed is the path that SigV4 git credentials sign: the repository's.
	signed     string
	repository string
	// regions are the ones that may be meant: one when path or host says it.
	regions   []string
	push      bool
	advertise bool
}

// git reads a request of git's smart HTTP protocol; it reports false for every
// other request.
func (g *Gateway) git(r *http.Request) (*gitRequest, bool) {
	m := gitPath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return nil, false
	}
	q := &gitRequest{signed: m[1], repository: m[3]}
	if m[2] != "" {
		q.regions = []string{m[2]}
	} else if h := gitHost.FindStringSubmatch(r.Host); h != nil {
		q.regions = []string{h[1]}
	}
	service := m[4]
	if service == "info/refs" {
		q.advertise = true
		service = r.URL.Query().Get("service")
	}
	q.push = service == "git-receive-pack"
	method := http.MethodPost
	if q.advertise {
		method = http.MethodGet
	}
	return q, r.Method == method && (q.push || service == "git-upload-pack")
}

func (g *Gateway) serveGit(w http.ResponseWriter, r *http.Request, q *gitRequest) {
	if r.TLS == nil {
		http.Error(w, "git needs https: a password must not travel in clear", http.StatusForbidden)
		return
	}
	bound(w, r, g.stall)
	principal, region, err := g.gitCaller(r, q)
	if err != nil {
		g.refuseGit(w, r, err)
		return
	}
	control := http.NewResponseController(w)
	body := io.Reader(&gitBody{r.Body, control})
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			http.Error(w, "the body is not gzip", http.StatusBadRequest)
			return
		}
	}
	c := g.call(r, "codecommit", "GitPull", region, principal)
	out := &gitAnswer{w: w, control: control, kind: "application/x-git-upload-pack-"}
	protocol := r.Header.Get("Git-Protocol")
	var in any = &codecommit.GitPullInput{RepositoryName: q.repository, Advertise: q.advertise, Protocol: protocol, Body: body, Out: out}
	if q.push {
		c.Operation = "GitPush"
		out.kind = "application/x-git-receive-pack-"
		in = &codecommit.GitPushInput{RepositoryName: q.repository, Advertise: q.advertise, Protocol: protocol, Body: body, Out: out}
	}
	out.kind += "result"
	if q.advertise {
		out.kind = strings.TrimSuffix(out.kind, "result") + "advertisement"
	}
	w.Header().Set("x-amzn-RequestId", c.ID)
	// A push's answer may begin before its body has been read to the end.
	control.EnableFullDuplex()
	_, err = g.door.Do(r.Context(), c, in)
	switch {
	case err == nil:
	case out.begun:
		panic(http.ErrAbortHandler) // git must not take half an answer for a whole one
	default:
		g.refuseGit(w, r, err)
	}
}

// gitStall is how long a git client may keep a connection without moving a
// byte, so that one that vanished holds nothing for ever.
const gitStall = 10 * time.Minute

// gitBody reads what a client sends, within gitStall for each piece. At the end
// the deadline is lifted: an answer may take longer.
type gitBody struct {
	io.Reader
	control *http.ResponseController
}

func (b *gitBody) Read(p []byte) (int, error) {
	b.control.SetReadDeadline(time.Now().Add(gitStall))
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// gitAnswer sends git's bytes on as they come: git shows progress by them.
type gitAnswer struct {
	w       http.ResponseWriter
	control *http.ResponseController
	kind    string
	begun   bool
}

func (a *gitAnswer) Write(p []byte) (int, error) {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", a.kind)
		a.w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	}
	a.control.SetWriteDeadline(time.Now().Add(gitStall))
	n, err := a.w.Write(p)
	if err == nil {
		err = a.control.Flush()
	}
	return n, err
}

// refuseGit answers in plain text, which git shows for some statuses only:
// the record has the reason.
func (g *Gateway) refuseGit(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusInternalServerError, "sekisho failed inside; its log has the cause"
	if e, ok := errors.AsType[*aws.Error](err); ok {
		text = e.Message
		switch e.Code {
		case "RepositoryDoesNotExistException":
			status = http.StatusNotFound
		case "InvalidRepositoryNameException", "MalformedGitRequestException":
			status = http.StatusBadRequest
		case "MissingAuthenticationToken":
			w.Header().Set("WWW-Authenticate", `Basic realm="AWS CodeCommit"`)
			status = http.StatusUnauthorized
		case "InternalFailure":
		case "NotImplemented":
			status = http.StatusNotImplemented
		default:
			status = http.StatusForbidden
		}
	} else {
		g.log.Error("a git request failed inside", "path", r.URL.Path, "error", err)
	}
	http.Error(w, text, status)
}

// gitCaller proves who asks, and in which region: with static credentials of
// IAM, or with a signature that the AWS CLI's credential helper or
// git-remote-codecommit made. Such a signature names its region only by
// itself, so where neither path nor host says it, each region that has such a
// repository is tried.
func (g *Gateway) gitCaller(r *http.Request, q *gitRequest) (aws.Principal, string, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return aws.Principal{}, "", aws.Errorf("MissingAuthenticationToken", "git needs credentials of AWS CodeCommit")
	}
	if !gitSigned.MatchString(password) {
		p, err := g.credentials.Password(r.Context(), user, password)
		if err != nil {
			return aws.Principal{}, "", err
		}
		region, err := g.gitRegion(r, q, p.Account)
		return p, region, err
	}
	keyID, token := sigv4.GitCredentials(user)
	secret, p, err := g.credentials.Key(r.Context(), keyID, token)
	if err != nil {
		return aws.Principal{}, "", err
	}
	candidates := q.regions
	if len(candidates) == 0 {
		if candidates, err = g.repositories(r.Context(), p.Account, q.repository); err != nil {
			return aws.Principal{}, "", err
		}
		if len(candidates) == 0 {
			return aws.Principal{}, "", errNoRepository(q)
		}
	}
	host, _, _ := strings.Cut(r.Host, ":")
	for _, region := range candidates {
		for _, name := range []string{r.Host, host} {
			if sigv4.VerifyGit(secret.Reveal(), region, name, q.signed, password, g.now()) {
				return p, region, nil
			}
		}
	}
	return aws.Principal{}, "", aws.Errorf("InvalidSignatureException",
		"the signature of the git credentials does not match: it is older than 15 minutes, or was made for another region, host or path than %s%s", r.Host, q.signed)
}

// gitRegion finds the region that static credentials, which name none, are
// meant for.
func (g *Gateway) gitRegion(r *http.Request, q *gitRequest, account string) (string, error) {
	if len(q.regions) == 1 {
		return q.regions[0], nil
	}
	regions, err := g.repositories(r.Context(), account, q.repository)
	switch {
	case err != nil:
		return "", err
	case len(regions) == 1:
		return regions[0], nil
	case len(regions) == 0:
		return "", errNoRepository(q)
	}
	return "", aws.Errorf("InvalidRepositoryNameException",
		"repositories named %s exist in %s: say which one is meant with the URL %s/REGION/v1/repos/%s",
		q.repository, strings.Join(regions, " and "), baseURL(r), q.repository)
}

func errNoRepository(q *gitRequest) error {
	return aws.Errorf("RepositoryDoesNotExistException", "%s does not exist", q.repository)
}

// baseURL is scheme and host as the client asked for them.
func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
