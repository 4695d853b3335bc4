-- Blue-green and canary have a state of their own, in which a deploy is active. The index keeps its name: code knows it.
drop index deploys_one_active;
create unique index deploys_one_active on deploys (service, environment)
    where state in ('shifting', 'applying', 'rolling_out', 'verifying', 'rolling_back');
