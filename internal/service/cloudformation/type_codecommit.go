package cloudformation

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"path"
	"strings"

	ccapi "github.com/sekisho/sekisho/internal/api/codecommit"
	s3api "github.com/sekisho/sekisho/internal/api/s3"
)

func (q *request) codecommit() ccapi.Client { return ccapi.Client{Invoker: q.Invoker} }

// Bounds of the archive in a repository's Code, and of one commit.
const (
	maxArchive     = 64 << 20
	maxCode        = 256 << 20
	filesPerCommit = 100
	bytesPerCommit = 6 << 20
)

// repository is AWS::CodeCommit::Repository. Its physical id is the
// repository's id; the API wants its name.
type repository struct{}

type repositoryProperties struct {
	Code                  *repositoryCode
	KmsKeyId              string
	RepositoryDescription string
	RepositoryName        string `cfn:",required"`
	Tags                  []tag
}

type repositoryCode struct {
	BranchName string
	S3         *struct {
		Bucket        string `cfn:",required"`
		Key           string `cfn:",required"`
		ObjectVersion string
	} `cfn:",required"`
}

func tagMap(tags []tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

func (repository) create(ctx context.Context, q *request) error {
	var p repositoryProperties
	if err := q.read(&p); err != nil {
		return err
	}
	var files []ccapi.PutFileEntry
	if p.Code != nil {
		var err error
		if files, err = q.codeFiles(ctx, p.Code); err != nil {
			return err
		}
	}
	m, err := q.createRepository(ctx, p)
	if err != nil {
		return err
	}
	q.repositoryAttributes(m)
	if err := q.exists(ctx, m.RepositoryId); err != nil {
		return err
	}
	if p.Code == nil {
		return nil
	}
	return q.commitFiles(ctx, p, files)
}

func (q *request) createRepository(ctx context.Context, p repositoryProperties) (*ccapi.RepositoryMetadata, error) {
	out, err := q.codecommit().CreateRepository(ctx, &ccapi.CreateRepositoryInput{
		RepositoryName: p.RepositoryName, RepositoryDescription: p.RepositoryDescription, KmsKeyId: p.KmsKeyId, Tags: tagMap(p.Tags),
	})
	if err == nil {
		return out.RepositoryMetadata, nil
	}
	if q.Resumed && existing(err) {
		got, e := q.codecommit().GetRepository(ctx, &ccapi.GetRepositoryInput{RepositoryName: p.RepositoryName})
		if e == nil && q.ours(got.RepositoryMetadata.CreationDate) {
			return got.RepositoryMetadata, nil
		}
	}
	return nil, err
}

func (q *request) repositoryAttributes(m *ccapi.RepositoryMetadata) {
	q.Attributes["Arn"], q.Attributes["Name"] = m.Arn, m.RepositoryName
	q.Attributes["CloneUrlHttp"], q.Attributes["CloneUrlSsh"] = m.CloneUrlHttp, m.CloneUrlSsh
}

// codeFiles reads the archive that a repository begins with.
func (q *request) codeFiles(ctx context.Context, code *repositoryCode) ([]ccapi.PutFileEntry, error) {
	if code.S3 == nil {
		return nil, problemf("Property S3 cannot be empty.")
	}
	out, err := q.s3().GetObject(ctx, &s3api.GetObjectInput{Bucket: code.S3.Bucket, Key: code.S3.Key, VersionId: code.S3.ObjectVersion})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, maxArchive+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxArchive {
		return nil, problemf("The archive s3://%s/%s is larger than %d bytes.", code.S3.Bucket, code.S3.Key, maxArchive)
	}
	files, err := unzip(b)
	if err != nil {
		return nil, problemf("The archive s3://%s/%s cannot be committed: %v", code.S3.Bucket, code.S3.Key, err)
	}
	return files, nil
}

// unzip returns the files of an archive as entries of a commit. Names that
// lead out of the repository are refused by CodeCommit.
func unzip(b []byte) ([]ccapi.PutFileEntry, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	var files []ccapi.PutFileEntry
	room := int64(maxCode)
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		content, err := unzipFile(f, room)
		if err != nil {
			return nil, err
		}
		room -= int64(len(content))
		mode := "NORMAL"
		switch {
		case !f.Mode().IsRegular(): // a link's own mode has all bits set
			mode = "SYMLINK"
		case f.Mode()&0o111 != 0:
			mode = "EXECUTABLE"
		}
		files = append(files, ccapi.PutFileEntry{FilePath: path.Clean(f.Name), FileMode: mode, FileContent: content})
	}
	return files, nil
}

func unzipFile(f *zip.File, room int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, room+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > room {
		return nil, problemf("it unpacks to more than %d bytes", maxCode)
	}
	return content, nil
}

// commitFiles commits the files, in several commits when there are more than
// one may hold. A step that was cut off commits what is missing.
func (q *request) commitFiles(ctx context.Context, p repositoryProperties, files []ccapi.PutFileEntry) error {
	branch := p.Code.BranchName
	if branch == "" {
		branch = "main"
	}
	parent := ""
	if q.Resumed {
		if out, err := q.codecommit().GetBranch(ctx, &ccapi.GetBranchInput{RepositoryName: p.RepositoryName, BranchName: branch}); err == nil {
			parent = out.Branch.CommitId
		}
	}
	for len(files) > 0 {
		n, size := 0, 0
		for n < len(files) && n < filesPerCommit && (n == 0 || size+len(files[n].FileContent) <= bytesPerCommit) {
			size += len(files[n].FileContent)
			n++
		}
		out, err := q.codecommit().CreateCommit(ctx, &ccapi.CreateCommitInput{
			RepositoryName: p.RepositoryName, BranchName: branch, ParentCommitId: parent, PutFiles: files[:n],
			AuthorName: "AWS CodeCommit", CommitMessage: "Initial commit by AWS CodeCommit",
		})
		files = files[n:]
		if q.Resumed && (errorCode(err) == "NoChangeException" || errorCode(err) == "SameFileContentException") {
			continue // committed before the process died
		}
		if err != nil {
			return err
		}
		parent = out.CommitId
	}
	return nil
}

func (repository) update(ctx context.Context, q *request) error {
	var before, after repositoryProperties
	q.readBefore(&before)
	if err := q.read(&after); err != nil {
		return err
	}
	c := q.codecommit()
	if before.RepositoryName != after.RepositoryName {
		_, err := c.UpdateRepositoryName(ctx, &ccapi.UpdateRepositoryNameInput{OldName: before.RepositoryName, NewName: after.RepositoryName})
		if err != nil && !(q.Resumed && missing(err)) { // renamed before the process died
			return err
		}
	}
	got, err := c.GetRepository(ctx, &ccapi.GetRepositoryInput{RepositoryName: after.RepositoryName})
	if err != nil {
		return err
	}
	q.repositoryAttributes(got.RepositoryMetadata)
	if q.changed("RepositoryDescription") {
		if _, err := c.UpdateRepositoryDescription(ctx, &ccapi.UpdateRepositoryDescriptionInput{
			RepositoryName: after.RepositoryName, RepositoryDescription: after.RepositoryDescription,
		}); err != nil {
			return err
		}
	}
	if q.changed("KmsKeyId") {
		if _, err := c.UpdateRepositoryEncryptionKey(ctx, &ccapi.UpdateRepositoryEncryptionKeyInput{
			RepositoryName: after.RepositoryName, KmsKeyId: after.KmsKeyId,
		}); err != nil {
			return err
		}
	}
	return q.repositoryTags(ctx, before.Tags, after.Tags)
}

func (q *request) repositoryTags(ctx context.Context, before, after []tag) error {
	set, unset := tagChanges(before, after)
	arn := q.Attributes["Arn"]
	if unset != nil {
		if _, err := q.codecommit().UntagResource(ctx, &ccapi.UntagResourceInput{ResourceArn: arn, TagKeys: unset}); err != nil {
			return err
		}
	}
	if set == nil {
		return nil
	}
	_, err := q.codecommit().TagResource(ctx, &ccapi.TagResourceInput{ResourceArn: arn, Tags: tagMap(set)})
	return err
}

func (repository) remove(ctx context.Context, q *request) error {
	name := q.Properties.Get("RepositoryName").String()
	if name == "" {
		return nil // it was never made
	}
	_, err := q.codecommit().DeleteRepository(ctx, &ccapi.DeleteRepositoryInput{RepositoryName: name})
	return unlessMissing(err)
}
