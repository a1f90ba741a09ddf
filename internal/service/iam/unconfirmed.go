// # Unconfirmed
//
// AWS documents neither the texts nor every rule of what follows; it is as
// clients have met it, or the nearest there is:
//
//   - the texts of PasswordPolicyViolation, and that old passwords are barred
//     to users only, not to those who set passwords for them;
//   - the texts of InvalidPublicKey, DuplicateSSHPublicKey, KeyPairMismatch,
//     DuplicateCertificate and InvalidCertificate, and that a signing
//     certificate that has expired is refused;
//   - by how many steps the clock of an MFA device may be off when it is
//     enabled (ten) or synchronized (two hours);
//   - what AWS answers to those who guess the codes of an MFA device;
//   - that a status "Expired" cannot be set by the Update operations;
//   - until when SAML metadata is good that does not say so (a hundred years);
//   - that CreateRole refuses the path of service-linked roles with
//     InvalidInput;
//   - what a simulation on several resources comes to as a whole: here the
//     decision that is furthest from Allow. The columns of matched statements
//     follow examples in AWS's manual and in what clients have shown.
package iam
