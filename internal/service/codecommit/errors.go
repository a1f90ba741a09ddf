package codecommit

import "github.com/sekisho/sekisho/internal/aws"

// Answers without a particular in them.
var (
	errNameRequired      = aws.Errorf("RepositoryNameRequiredException", "A repository name is required.")
	errBadName           = aws.Errorf("InvalidRepositoryNameException", "The repository name is not valid. Repository names can be any valid combination of letters, numbers, periods, underscores, and dashes between 1 and 100 characters in length. Names are case sensitive. For more information, see Limits in the AWS CodeCommit User Guide. ")
	errBadDescription    = aws.Errorf("InvalidRepositoryDescriptionException", "The repository description is not valid. A description can be at most 1,000 characters long.")
	errNamesRequired     = aws.Errorf("RepositoryNamesRequiredException", "At least one repository name is required.")
	errTooManyNames      = aws.Errorf("MaximumRepositoryNamesExceededException", "The maximum number of repository names in a batch request is 100.")
	errBadToken          = aws.Errorf("InvalidContinuationTokenException", "The continuation token is not valid.")
	errBranchRequired    = aws.Errorf("BranchNameRequiredException", "A branch name is required.")
	errDefaultBranch     = aws.Errorf("DefaultBranchCannotBeDeletedException", "The branch is the default branch of the repository and cannot be deleted. To delete it, first make another branch the default branch.")
	errCommitIDRequired  = aws.Errorf("CommitIdRequiredException", "A commit ID is required.")
	errCommitIDsRequired = aws.Errorf("CommitIdsListRequiredException", "A list of commit IDs is required, and it must not be empty.")
	errTooManyCommits    = aws.Errorf("CommitIdsLimitExceededException", "The maximum number of commit IDs in a batch request is 100.")
	errCommitRequired    = aws.Errorf("CommitRequiredException", "A commit is required.")
	errPathRequired      = aws.Errorf("PathRequiredException", "A path is required.")
	errBlobRequired      = aws.Errorf("BlobIdRequiredException", "A blob ID is required.")
	errBadMaxResults     = aws.Errorf("InvalidMaxResultsException", "The maximum number of results has to be greater than zero.")
	errTooLarge          = aws.Errorf("FileTooLargeException", "The file exceeds the size limit of 6 MB. Use a Git client to retrieve it.")
	errNoDefaultBranch   = aws.Errorf("CommitDoesNotExistException", "No commit was specified, and the repository has no default branch.")

	errParentRequired   = aws.Errorf("ParentCommitIdRequiredException", "A parent commit ID is required. To view the full commit ID of a branch in a repository, use GetBranch or a Git command (for example, git pull or git log).")
	errContentRequired  = aws.Errorf("FileContentRequiredException", "The file cannot be added because it is empty. Empty files cannot be added to the repository with this API.")
	errContentTooLarge  = aws.Errorf("FileContentSizeLimitExceededException", "The file cannot be added because it is too large. The maximum file size is 6 MB, and the combined file content change size is 7 MB. Consider making these changes using a Git client.")
	errSameContent      = aws.Errorf("SameFileContentException", "The file was not added or updated because the content of the file is exactly the same as the content of that file in the repository and branch that you specified.")
	errNoChange         = aws.Errorf("NoChangeException", "The commit cannot be created because no changes will be made to the repository as a result of this commit. A commit must contain at least one change.")
	errEntryRequired    = aws.Errorf("FileEntryRequiredException", "The commit cannot be created because no files have been specified as added, updated, or changed (PutFile or DeleteFile) for the commit.")
	errTooManyEntries   = aws.Errorf("MaximumFileEntriesExceededException", "The number of specified files to change as part of this commit exceeds the maximum of 100 files that can be changed in a single commit. Consider using a Git client for these changes.")
	errSourceOrContent  = aws.Errorf("SourceFileOrContentRequiredException", "The commit cannot be created because no source files or file content have been specified for the commit.")
	errSourceAndContent = aws.Errorf("FileContentAndSourceFileSpecifiedException", "The commit cannot be created because both a source file and file content have been specified for the same file. You cannot provide both. Either specify a source file or provide the file content directly.")
	errSamePath         = aws.Errorf("SamePathRequestException", "The commit cannot be created because one or more changes in this commit duplicate actions in the same file path.")
	errRestrictedSource = aws.Errorf("RestrictedSourceFileException", "The commit cannot be created because one of the changes specifies copying or moving a .gitkeep file.")
	errModeRequired     = aws.Errorf("FileModeRequiredException", "The commit cannot be created because no file mode has been specified. A file mode is required to update mode permissions for a file.")
	errBadMode          = aws.Errorf("InvalidFileModeException", "The specified file mode permission is not valid. Valid values are EXECUTABLE, NORMAL, and SYMLINK.")
	errNameTooLong      = aws.Errorf("NameLengthExceededException", "The user name is not valid because it has exceeded the character limit for author names.")
	errBadEmail         = aws.Errorf("InvalidEmailException", "The specified email address either contains one or more characters that are not allowed, or it exceeds the maximum number of characters allowed for an email address.")
	errMessageTooLong   = aws.Errorf("CommitMessageLengthExceededException", "The commit message is too long. Provide a shorter string.")
	errFileIsDirectory  = aws.Errorf("FileNameConflictsWithDirectoryNameException", "A file cannot be added to the repository because the specified file name has the same name as a directory in this repository. Either provide another name for the file, or add the file in a directory that does not match the file name.")
	errDirectoryIsFile  = aws.Errorf("DirectoryNameConflictsWithFileNameException", "A file cannot be added to the repository because the specified path name has the same name as a file that already exists in this repository. Either provide a different name for the file, or specify a different path for the file.")
	errPathIsSubmodule  = aws.Errorf("FilePathConflictsWithSubmodulePathException", "The commit cannot be created because a specified file path points to a submodule. Verify that the destination files have valid file paths that do not point to a submodule.")
	errEntryConflict    = aws.Errorf("PutFileEntryConflictException", "The commit cannot be created because one or more files specified in the commit reference both a file and a folder.")

	errARNRequired     = aws.Errorf("ResourceArnRequiredException", "A resource ARN is required.")
	errBadARN          = aws.Errorf("InvalidResourceArnException", "The resource ARN is not valid.")
	errTagsRequired    = aws.Errorf("TagsMapRequiredException", "A map of tags is required.")
	errTagKeysRequired = aws.Errorf("TagKeysListRequiredException", "A list of tag keys is required. The list cannot be empty or null.")
	errTooManyTags     = aws.Errorf("TooManyTagsException", "A repository can have at most 50 tags.")
	errSystemTag       = aws.Errorf("InvalidSystemTagUsageException", "The specified tag is not valid. Key names cannot be prefixed with aws:.")
	errBadTags         = aws.Errorf("InvalidTagsMapException", "The map of tags is not valid. A key has 1 to 128 characters, a value at most 256.")
)

func errNoRepository(name string) *aws.Error {
	return aws.Errorf("RepositoryDoesNotExistException", "%s does not exist", name)
}

func errRepositoryExists(name string) *aws.Error {
	return aws.Errorf("RepositoryNameExistsException", "Repository named %s already exists", name)
}

func errNoBranch(name string) *aws.Error {
	return aws.Errorf("BranchDoesNotExistException", "Branch %s does not exist", name)
}

func errBranchExists(name string) *aws.Error {
	return aws.Errorf("BranchNameExistsException", "Cannot create the branch %s because a branch with that name, or with a name that conflicts with it, already exists.", name)
}

func errBadBranch(name string) *aws.Error {
	return aws.Errorf("InvalidBranchNameException", "The branch name %s is not valid.", name)
}

func errNoCommit(spec string) *aws.Error {
	return aws.Errorf("CommitDoesNotExistException", "Could not find commit %s", spec)
}
