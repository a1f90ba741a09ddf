# One of each resource of a delivery system, for Terraform's AWS provider.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  s3_use_path_style = true
}

data "aws_caller_identity" "me" {}

resource "aws_s3_bucket" "store" {
  bucket = "tf-store-222222222222"
  tags   = { Team = "delivery" }
}

resource "aws_s3_bucket_versioning" "store" {
  bucket = aws_s3_bucket.store.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "store" {
  bucket = aws_s3_bucket.store.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.key.arn
    }
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket_policy" "store" {
  bucket = aws_s3_bucket.store.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.store.arn, "${aws_s3_bucket.store.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_s3_bucket_public_access_block" "store" {
  bucket                  = aws_s3_bucket.store.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "store" {
  bucket = aws_s3_bucket.store.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_object" "hello" {
  bucket  = aws_s3_bucket.store.id
  key     = "hello.txt"
  content = "hello"
}

resource "aws_kms_key" "key" {
  description             = "terraform"
  deletion_window_in_days = 7
  enable_key_rotation     = true
  tags                    = { Team = "delivery" }
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.me.account_id}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}

resource "aws_kms_alias" "key" {
  name          = "alias/tf"
  target_key_id = aws_kms_key.key.key_id
}

resource "aws_iam_role" "pipeline" {
  name = "tf-pipeline"
  tags = { Team = "delivery" }
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "codepipeline.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role" "events" {
  name = "tf-events"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "pipeline" {
  role = aws_iam_role.pipeline.id
  name = "work"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["s3:*"], Resource = "*" }]
  })
}

resource "aws_iam_policy" "read" {
  name = "tf-read"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "codecommit:Get*", Resource = "*" }]
  })
}

resource "aws_iam_role_policy_attachment" "read" {
  role       = aws_iam_role.pipeline.name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_iam_user" "alice" {
  name = "tf-alice"
  tags = { Team = "delivery" }
}

resource "aws_iam_user_policy" "alice" {
  user = aws_iam_user.alice.name
  name = "own"
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "codecommit:GitPull", Resource = "*" }]
  })
}

resource "aws_iam_user_policy_attachment" "alice" {
  user       = aws_iam_user.alice.name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_iam_access_key" "alice" {
  user = aws_iam_user.alice.name
}

resource "aws_iam_service_specific_credential" "alice" {
  service_name = "codecommit.amazonaws.com"
  user_name    = aws_iam_user.alice.name
}

resource "aws_iam_group" "devs" {
  name = "tf-devs"
}

resource "aws_iam_group_membership" "devs" {
  name  = "devs"
  group = aws_iam_group.devs.name
  users = [aws_iam_user.alice.name]
}

resource "aws_iam_group_policy_attachment" "devs" {
  group      = aws_iam_group.devs.name
  policy_arn = "arn:aws:iam::aws:policy/AWSCodeCommitReadOnly"
}

resource "aws_codecommit_repository" "app" {
  repository_name = "tf-app"
  description     = "an application"
  tags            = { Team = "delivery" }
}

resource "aws_cloudwatch_event_bus" "own" {
  name = "tf-bus"
  tags = { Team = "delivery" }
}

resource "aws_cloudwatch_event_permission" "other" {
  principal    = "111111111111"
  statement_id = "Other"
  action       = "events:PutEvents"
}

resource "aws_cloudwatch_event_rule" "push" {
  name = "tf-push"
  tags = { Team = "delivery" }
  event_pattern = jsonencode({
    source        = ["aws.codecommit"]
    "detail-type" = ["CodeCommit Repository State Change"]
    resources     = [aws_codecommit_repository.app.arn]
  })
}

resource "aws_cloudwatch_event_target" "pipeline" {
  rule      = aws_cloudwatch_event_rule.push.name
  target_id = "pipeline"
  arn       = aws_codepipeline.app.arn
  role_arn  = aws_iam_role.events.arn
}

resource "aws_cloudwatch_event_target" "bus" {
  rule     = aws_cloudwatch_event_rule.push.name
  arn      = aws_cloudwatch_event_bus.own.arn
  role_arn = aws_iam_role.events.arn
}

resource "aws_codepipeline" "app" {
  name     = "tf-app"
  role_arn = aws_iam_role.pipeline.arn
  tags     = { Team = "delivery" }
  artifact_store {
    location = aws_s3_bucket.store.bucket
    type     = "S3"
    encryption_key {
      id   = aws_kms_key.key.arn
      type = "KMS"
    }
  }
  stage {
    name = "Source"
    action {
      name             = "Source"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeCommit"
      version          = "1"
      namespace        = "SourceVariables"
      output_artifacts = ["Source"]
      configuration = {
        RepositoryName       = aws_codecommit_repository.app.repository_name
        BranchName           = "main"
        PollForSourceChanges = "false"
        OutputArtifactFormat = "CODE_ZIP"
      }
    }
  }
  stage {
    name = "Deploy"
    action {
      name            = "Deploy"
      category        = "Deploy"
      owner           = "AWS"
      provider        = "S3"
      version         = "1"
      input_artifacts = ["Source"]
      configuration = {
        BucketName = aws_s3_bucket.store.bucket
        Extract    = "true"
        ObjectKey  = "release"
      }
    }
  }
}
