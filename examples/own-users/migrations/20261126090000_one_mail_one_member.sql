-- One spelling of each address, and one member for it: what decides who somebody is must be unique.
ALTER TABLE members ADD COLUMN mail_spelled TEXT;
UPDATE members SET mail_spelled = lower(trim(mail));
CREATE UNIQUE INDEX members_mail_spelled ON members (mail_spelled);
