package codepipeline

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	s3api "github.com/sekisho/sekisho/internal/api/s3"
)

// s3Deploy puts an artifact, or the files in it, into a bucket.
type s3Deploy struct{}

func (s3Deploy) bounds() bounds       { return bounds{1, 1, 0, 0} }
func (s3Deploy) limit() time.Duration { return 90 * time.Minute }

func (s3Deploy) keys() []configKey {
	return []configKey{
		{name: "BucketName", required: true},
		{name: "Extract", required: true, values: []string{"true", "false"}},
		{name: "ObjectKey"},
		{name: "KMSEncryptionKeyARN"},
		{name: "CannedACL", values: []string{
			"private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control",
		}},
		{name: "CacheControl"},
	}
}

const (
	// deployWorkers is how many files of an archive are put at once.
	deployWorkers = 8
	// maxFiles is AWS's quota of files in an archive.
	maxFiles = 100_000
	// maxDirectory bounds the list of files of an archive, which is read into
	// memory.
	maxDirectory = 32 << 20
	// maxExtracted bounds what an archive may grow to.
	maxExtracted = 50 << 30
)

func (s3Deploy) run(ctx context.Context, w *work) (actionOutput, error) {
	if len(w.inputs) != 1 {
		return actionOutput{}, fail(configurationError, "The input artifact %s was not produced by a preceding action", w.declared.InputArtifacts[0].Name)
	}
	home, err := w.invoker(ctx, w.pipeline.Region)
	if err != nil {
		return actionOutput{}, err
	}
	there, err := w.invoker(ctx, w.region())
	if err != nil {
		return actionOutput{}, err
	}
	d := deployment{
		client: s3api.Client{Invoker: there}, bucket: w.config["BucketName"], key: expand(w.config["ObjectKey"], w.row.Started),
		kmsKey: w.config["KMSEncryptionKeyARN"], acl: w.config["CannedACL"], cacheControl: w.config["CacheControl"],
	}
	artifact, err := openArtifact(ctx, s3api.Client{Invoker: home}, w.inputs[0].S3location.Bucket, w.inputs[0].S3location.Key)
	if err != nil {
		return actionOutput{}, err
	}
	defer artifact.Body.Close()
	if w.config["Extract"] == "true" {
		err = d.extract(ctx, artifact.Body)
	} else {
		err = d.put(ctx, d.key, artifact.Body, artifact.ContentLength)
	}
	if err != nil {
		return actionOutput{}, err
	}
	return actionOutput{Summary: "Deployment Succeeded"}, nil
}

// expand fills in the placeholders of an object key.
func expand(key string, at time.Time) string {
	return strings.ReplaceAll(key, "{datetime}", at.UTC().Format("2006-01-02_15-04-05"))
}

// deployment is where and how objects are put.
type deployment struct {
	client                    s3api.Client
	bucket, key               string
	kmsKey, acl, cacheControl string
}

// openArtifact reads an artifact. AWS tells denied and missing artifacts by the
// same words.
func openArtifact(ctx context.Context, client s3api.Client, bucket, key string) (*s3api.GetObjectOutput, error) {
	object, err := client.GetObject(ctx, &s3api.GetObjectInput{Bucket: bucket, Key: key})
	if err == nil {
		return object, nil
	}
	e, ok := asError(err)
	if !ok || trouble(e) {
		return nil, err
	}
	return nil, fail(permissionError, "Unable to access the artifact with Amazon S3 object key '%s' located in the Amazon S3 artifact bucket '%s'. "+
		"The provided role does not have sufficient permissions.", key, bucket)
}

// put writes one object.
func (d *deployment) put(ctx context.Context, key string, body io.Reader, size *int64) error {
	in := &s3api.PutObjectInput{
		Bucket: d.bucket, Key: key, Body: body, ContentLength: size, ContentType: contentType(key), CacheControl: d.cacheControl, ACL: d.acl,
	}
	if d.kmsKey != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = "aws:kms", d.kmsKey
	}
	_, err := d.client.PutObject(ctx, in)
	return s3Failure(d.bucket, fmt.Sprintf("the object with key %s could not be put into the Amazon S3 bucket named %s", key, d.bucket), err)
}

// extract puts the files of a ZIP under the key. All names are looked at
// before the first file is put.
func (d *deployment) extract(ctx context.Context, body io.Reader) error {
	spooled, err := spool(body)
	if err != nil {
		return fmt.Errorf("read artifact: %w", err)
	}
	defer spooled.Close()
	directory := &budget{ReaderAt: spooled, left: maxDirectory}
	archive, err := zip.NewReader(directory, spooled.size)
	if err != nil {
		return fail(jobFailed, "The input artifact is not a ZIP file: %v", err)
	}
	directory.left = math.MaxInt64 // what follows streams
	files, err := filesOf(archive)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deployWorkers)
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return d.putFile(ctx, f) })
	}
	return g.Wait()
}

func (d *deployment) putFile(ctx context.Context, f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return fail(jobFailed, "The file %s in the input artifact cannot be read: %v", f.Name, err)
	}
	defer r.Close()
	body := &fileBody{r: r}
	err = d.put(ctx, objectKey(d.key, f.Name), body, new(int64(f.UncompressedSize64)))
	if body.err != nil {
		return fail(jobFailed, "The file %s in the input artifact is damaged: %v", f.Name, body.err)
	}
	return err
}

// fileBody remembers why reading a file of an archive failed.
type fileBody struct {
	r   io.Reader
	err error
}

func (b *fileBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// objectKey is where a file goes under the deployment path.
func objectKey(prefix, name string) string {
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return name
	}
	return prefix + "/" + name
}

// filesOf lists the files of an archive by name, and refuses archives that
// reach out of their folder or are larger than they have a reason to be. Of
// files with the same name the last one counts, as when unzipping.
func filesOf(archive *zip.Reader) ([]*zip.File, error) {
	if len(archive.File) > maxFiles {
		return nil, fail(jobFailed, "The input artifact has more than %d files", maxFiles)
	}
	var total uint64
	byName := make(map[string]*zip.File, len(archive.File))
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if err := inside(f.Name); err != nil {
			return nil, fail(jobFailed, "The input artifact has a file named %q: %v", f.Name, err)
		}
		if total += f.UncompressedSize64; total > maxExtracted || f.UncompressedSize64 > maxExtracted {
			return nil, fail(jobFailed, "The files of the input artifact are larger than %d bytes", int64(maxExtracted))
		}
		byName[f.Name] = f
	}
	files := make([]*zip.File, 0, len(byName))
	for _, f := range byName {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// budget bounds how much is read.
type budget struct {
	io.ReaderAt
	left int64
}

var errDirectory = errors.New("its list of files is too long")

// ReadAt implements io.ReaderAt.
func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left < math.MaxInt64 {
		if b.left -= int64(len(p)); b.left < 0 {
			return 0, errDirectory
		}
	}
	return b.ReaderAt.ReadAt(p, off)
}

var errOutside = errors.New("the name is not a relative path inside the archive")

// inside refuses names that mean another place than below the folder they are
// extracted to, on whatever system somebody later copies them to.
func inside(name string) error {
	if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return errors.New("the name is not UTF-8 text")
	}
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return errOutside
		}
	}
	if name == "" || strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || path.Clean(name) != name {
		return errOutside
	}
	return nil
}
