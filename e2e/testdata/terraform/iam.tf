# One of each resource of IAM that main.tf does not have.

resource "aws_iam_account_alias" "alias" {
  account_alias = "tf-pipeline-account"
}

resource "aws_iam_account_password_policy" "strict" {
  minimum_password_length        = 14
  require_lowercase_characters   = true
  require_uppercase_characters   = true
  require_numbers                = true
  require_symbols                = true
  allow_users_to_change_password = true
  max_password_age               = 90
  password_reuse_prevention      = 5
  hard_expiry                    = false
}

resource "aws_iam_user" "worker" {
  name          = "tf-worker"
  path          = "/people/"
  force_destroy = true
  tags          = { Team = "delivery" }
}

resource "aws_iam_user_login_profile" "worker" {
  user                    = aws_iam_user.worker.name
  password_reset_required = true
  depends_on              = [aws_iam_account_password_policy.strict]
}

resource "aws_iam_virtual_mfa_device" "phone" {
  virtual_mfa_device_name = "tf-phone"
  tags                    = { Team = "delivery" }
}

resource "aws_iam_user_ssh_key" "worker" {
  username   = aws_iam_user.worker.name
  encoding   = "SSH"
  public_key = file("${path.module}/worker.pub")
}

resource "aws_iam_signing_certificate" "worker" {
  user_name        = aws_iam_user.worker.name
  certificate_body = file("${path.module}/ca.pem")
}

resource "aws_iam_role" "machine" {
  name = "tf-machine"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "machine" {
  name = "tf-machine"
  path = "/machines/"
  role = aws_iam_role.machine.name
  tags = { Team = "delivery" }
}

resource "aws_iam_saml_provider" "idp" {
  name                   = "tf-idp"
  saml_metadata_document = file("${path.module}/metadata.xml")
  tags                   = { Team = "delivery" }
}

resource "aws_iam_openid_connect_provider" "ci" {
  url             = "https://ci.example.com"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["990f4193972f2becf12ddeda5237f9c952f20d9e"]
  tags            = { Team = "delivery" }
}

resource "aws_iam_openid_connect_provider" "plain" {
  url            = "https://plain.example.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_server_certificate" "web" {
  name              = "tf-web"
  path              = "/cloudfront/"
  certificate_body  = file("${path.module}/server.pem")
  certificate_chain = file("${path.module}/ca.pem")
  private_key       = file("${path.module}/server.key")
  tags              = { Team = "delivery" }
}

resource "aws_iam_service_linked_role" "events" {
  aws_service_name = "events.amazonaws.com"
  description      = "of EventBridge"
}

resource "aws_iam_group" "readers" {
  name = "tf-readers"
}

resource "aws_iam_group_policy_attachment" "readers" {
  group      = aws_iam_group.readers.name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}

resource "aws_iam_group_policy" "readers" {
  name   = "keys"
  group  = aws_iam_group.readers.name
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Deny", Action = "kms:Decrypt", Resource = "*" }] })
}

resource "aws_iam_user_group_membership" "worker" {
  user   = aws_iam_user.worker.name
  groups = [aws_iam_group.readers.name]
}

data "aws_iam_principal_policy_simulation" "worker" {
  policy_source_arn = aws_iam_user.worker.arn
  action_names      = ["s3:GetObject"]
  depends_on        = [aws_iam_group_policy_attachment.readers, aws_iam_user_group_membership.worker]
}

output "worker_reads" {
  value = data.aws_iam_principal_policy_simulation.worker.all_allowed
}
